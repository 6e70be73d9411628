"""Truncated backpropagation: its costs, and what it learns."""
