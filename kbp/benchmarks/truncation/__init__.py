"""What truncated backpropagation through time costs, and what it learns."""
