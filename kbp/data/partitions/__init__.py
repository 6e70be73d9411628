"""Which client of a federation holds which examples: a file for each way."""
