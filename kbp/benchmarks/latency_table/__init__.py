"""Predicted latencies, against those of the written files."""
