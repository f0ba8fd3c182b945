"""A study: a recipe trained on every fold or the first ones, with one seed or several, as trials that may be lost.

A trial is the built script in a folder with its settings. Engines run trials and know nothing of images.
"""
