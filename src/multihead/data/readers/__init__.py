"""A reader for each form of file that images come in."""
