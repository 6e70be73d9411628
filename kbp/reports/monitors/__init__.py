"""What monitors of a training found, as files and as figures."""
