"""From test files to answers and the submission file."""
