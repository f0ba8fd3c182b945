"""What Kaggle would refuse, found before a push."""
