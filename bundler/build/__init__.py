"""From the package to one script: files, imports, wheels, what Kaggle's image has."""
