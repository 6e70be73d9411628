"""Processor time of the command line and of importing kbp."""
