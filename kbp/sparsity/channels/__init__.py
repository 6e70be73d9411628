"""Which channels depend on each other, and what they cost."""
