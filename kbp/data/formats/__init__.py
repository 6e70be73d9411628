"""Reading a person's own files."""
