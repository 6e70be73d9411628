"""Pruning methods compared on one network, with the same batches."""
