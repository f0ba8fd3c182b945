"""From the package to what is pushed to Kaggle. Standard library only; never imports multihead, reads it as text."""
