"""Processor time of starting the command line and importing kbp."""
