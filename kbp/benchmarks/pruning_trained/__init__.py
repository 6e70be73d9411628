"""Pruning methods compared on one trained network, by latency."""
