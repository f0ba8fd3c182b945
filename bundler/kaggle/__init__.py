"""What talks to Kaggle, and what is pushed."""
