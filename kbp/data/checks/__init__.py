"""What is asked of data before anything is trained on them."""
