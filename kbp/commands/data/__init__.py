"""Commands that read data sets and train nothing."""
