"""What a person looks at: the page of a training, the inspection of its data."""
