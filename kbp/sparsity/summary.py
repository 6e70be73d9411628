"""What the masks of a model keep."""

from dataclasses import dataclass

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from kbp import graph
from kbp.layers import DTM
from kbp.sparsity.masks import hard_mask, masked_layers


@dataclass(frozen=True)
class KernelSummary:
    """One masked kernel: its shape, what is kept, and its threshold."""

    name: str
    shape: tuple[int, ...]
    size: int
    kept: int
    threshold: float | None

    @property
    def sparsity(self) -> float:
        """Share of zeros."""
        return 1.0 - self.kept / self.size


def summary(
    model: keras.Model, *, console: Console | None = None
) -> list[KernelSummary]:
    """Print a table of the masked kernels of a model, and return its rows.

    Args:
        model: a model with DTM or fixed masks.
        console: rich console to print to; the standard output by default.

    Returns:
        One `KernelSummary` for each masked kernel.
    """
    rows = [_row(layer) for layer in masked_layers(model)]
    table = Table(title=f"Masks of {model.name}")
    table.add_column("layer")
    for column in ("kernel", "weights", "kept", "zeros", "threshold"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row.name,
            "x".join(map(str, row.shape)),
            f"{row.size:,}",
            f"{row.kept:,}",
            f"{row.sparsity:.1%}",
            "fixed" if row.threshold is None else f"{row.threshold:.4g}",
        )
    size, kept = (sum(getattr(r, k) for r in rows) for k in ("size", "kept"))
    zeros = f"{1 - kept / size:.1%}" if size else "-"
    table.add_section()
    table.add_row("all", "", f"{size:,}", f"{kept:,}", zeros, "")
    (console or Console()).print(table)
    return rows


def kernel_sparsity(model: keras.Model) -> float:
    """Return the share of exact zeros among all kernel weights of a model.

    Kernels are the weights of two or more dimensions. Masks that a model
    still carries count as if they were stripped.
    """
    zeros = size = 0
    for layer in graph.flatten(model).layers:
        masked = graph.transforms(layer)
        for weight in graph.unwrapped(layer).weights:
            if len(weight.shape) < 2:
                continue
            values = keras.ops.convert_to_numpy(weight)
            if masked and weight is layer.kernel:
                values = values * hard_mask(layer)
            zeros += int(np.sum(values == 0))
            size += values.size
    return zeros / size if size else 0.0


def _row(layer):
    mask = hard_mask(layer)
    thresholds = [
        float(t.threshold) for t in layer.transforms if isinstance(t, DTM)
    ]
    return KernelSummary(
        layer.name,
        tuple(mask.shape),
        mask.size,
        int(mask.sum()),
        thresholds[0] if thresholds else None,
    )
