"""Exported files: SavedModel and .tflite, audited, verified and timed."""

from kbp.export.audit import Audit, Operation, audit
from kbp.export.interpreter import Runner
from kbp.export.latency import Latency, LatencyTable, benchmark, latency_table
from kbp.export.memory import (
    ArenaPlan,
    Budget,
    Footprint,
    footprint,
    plan_arena,
)
from kbp.export.metadata import Metadata, TensorInfo
from kbp.export.runtimes import Agreement, Difference, verify_runtimes
from kbp.export.saved_model import to_saved_model
from kbp.export.tflite import to_tflite
from kbp.export.verify import Verification, verify

__all__ = [
    "Agreement",
    "ArenaPlan",
    "Audit",
    "Budget",
    "Difference",
    "Footprint",
    "Latency",
    "LatencyTable",
    "Metadata",
    "Operation",
    "Runner",
    "TensorInfo",
    "Verification",
    "audit",
    "benchmark",
    "footprint",
    "latency_table",
    "plan_arena",
    "to_saved_model",
    "to_tflite",
    "verify",
    "verify_runtimes",
]
