"""What other runtimes make of the zoo's int8 files."""
