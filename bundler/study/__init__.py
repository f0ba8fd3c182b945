"""A study: the same recipe trained on every fold, with one seed or several, as trials that can be lost and begun again.

A trial is the built script in a folder with its settings. Engines run trials and know nothing of images.
"""
