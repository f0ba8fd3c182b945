"""From the package to what is pushed to Kaggle. Of the package it imports multihead.config and nothing else.

Pydantic, which that needs, and the standard library: only the module constraints, which no other imports, needs more.
"""
