"""What `kbp.compress` knows of a person's own model and data."""
