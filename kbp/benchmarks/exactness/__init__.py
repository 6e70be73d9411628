"""Single operations of int8 files, against their models."""
