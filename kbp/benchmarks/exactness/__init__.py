"""Single operations of int8 files, against the models they were made from."""
