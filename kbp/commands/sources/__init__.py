"""Where commands take what they read from."""
