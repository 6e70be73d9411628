"""A recipe run with several seeds."""
