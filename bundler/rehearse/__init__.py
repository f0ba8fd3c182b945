"""A stand-in of Kaggle's machine."""
