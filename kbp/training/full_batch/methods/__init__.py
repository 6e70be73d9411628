"""A file for each method of `kbp.training.minimize`."""
