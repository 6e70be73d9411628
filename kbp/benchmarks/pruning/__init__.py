"""Pruning methods compared on one network and the same batches."""
