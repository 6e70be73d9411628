"""How long .tflite files and their single operations take."""

from kbp.export.latency.benchmark import Latency, benchmark
from kbp.export.latency.table import LatencyTable, latency_table

__all__ = ["Latency", "LatencyTable", "benchmark", "latency_table"]
