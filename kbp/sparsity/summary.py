"""What the masks of a model keep."""

import collections
import math
from dataclasses import dataclass

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from kbp import graph
from kbp.layers import DTM, ChannelScale, TransformedLayer
from kbp.sparsity.channels.cost import multiply_adds
from kbp.sparsity.channels.places import gives_channels, source_of
from kbp.sparsity.masks import hard_mask, masked_layers, names_of
from kbp.sparsity.strip import strip


@dataclass(frozen=True)
class KernelSummary:
    """One masked kernel, or group of channels.

    Attributes:
        name: of the layer.
        shape: of the kernel; `(channels,)` for a group of channels.
        size: number of weights or channels.
        kept: how many the mask keeps.
        nonzero: how many of these are not zero.
        threshold: of the mask; `None` for a fixed one.
        multiply_adds: of the dense layer, or of all layers that give the
            channels, on one example; masked kernels of a layer share them.

    Example:
    >>> from kbp.sparsity import KernelSummary
    >>> row = KernelSummary("dense", (4, 5), 20, 5, 5, 0.1, 20)
    >>> row.sparsity, row.kept_multiply_adds
    (0.75, 5)
    """

    name: str
    shape: tuple[int, ...]
    size: int
    kept: int
    nonzero: int
    threshold: float | None
    multiply_adds: int

    @property
    def sparsity(self) -> float:
        """Share of zeros."""
        return 1.0 - self.kept / self.size

    @property
    def kept_multiply_adds(self) -> int:
        """Multiply-adds with what is kept."""
        return round(self.multiply_adds * self.kept / self.size)


def summary(
    model: keras.Model, *, console: Console | None = None
) -> list[KernelSummary]:
    """Print a table of the masks of a model, and return its rows.

    Args:
        model: a model with DTM or fixed masks.
        console: rich console to print to; the standard output by default.

    Returns:
        One `KernelSummary` for each mask.

    Example:
    >>> import io, rich.console, kbp
    >>> model = kbp.models.PyramidBPNet((16, 16, 1), 10, width=16)
    >>> console = rich.console.Console(file=io.StringIO())
    >>> rows = kbp.sparsity.summary(
    ...     kbp.sparsity.apply_dtm(model), console=console
    ... )
    >>> rows[0].name, rows[0].sparsity
    ('scale0_dense', 0.0)
    """
    rows = _rows(model)
    table = Table(title=f"Masks of {model.name}")
    table.add_column("layer", overflow="fold")
    for column in ("kernel", "kept", "non-zero", "zeros", "threshold"):
        table.add_column(column, justify="right")
    table.add_column("multiply-adds", justify="right")
    for row in rows:
        table.add_row(
            row.name,
            "x".join(map(str, row.shape)),
            f"{row.kept:,}",
            f"{row.nonzero:,}",
            f"{row.sparsity:.1%}",
            "fixed" if row.threshold is None else f"{row.threshold:.3g}",
            _share(row.kept_multiply_adds, row.multiply_adds),
        )
    size, kept, nonzero, kept_cost, cost = (
        sum(getattr(row, name) for row in rows)
        for name in (
            *("size", "kept", "nonzero"),
            *("kept_multiply_adds", "multiply_adds"),
        )
    )
    zeros = f"{1 - kept / size:.1%}" if size else "-"
    table.add_section()
    table.add_row(
        *("all", "", f"{kept:,}", f"{nonzero:,}", zeros, ""),
        _share(kept_cost, cost),
    )
    (console or Console()).print(table)
    return rows


def kernel_sparsity(model: keras.Model) -> float:
    """Return the share of exact zeros among all kernel weights of a model.

    Kernels are the weights of two or more dimensions. Masks that a model
    still carries count as if they were stripped.

    Args:
        model: a functional or built Sequential model.

    Returns:
        The share, in [0, 1]; 0 without kernels.

    Example:
    >>> import keras, numpy as np, kbp
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> model.set_weights([np.eye(2), np.zeros(2)])
    >>> kbp.sparsity.kernel_sparsity(model)
    0.5
    """
    zeros = size = 0
    flat = graph.flatten(model)
    if any(isinstance(graph.unwrapped(x), ChannelScale) for x in flat.layers):
        flat = strip(flat)  # whose gates are folded into kernels
    for layer in flat.layers:
        masks = {id(x.kernel): x for x in graph.wrappers(layer)}
        for weight in graph.unwrapped(layer).weights:
            if len(weight.shape) < 2:
                continue
            values = graph.values_of(weight)
            if id(weight) in masks:
                values = values * hard_mask(masks[id(weight)])
            zeros += int(np.sum(values == 0))
            size += values.size
    return zeros / size if size else 0.0


def channel_count(model: keras.Model) -> int:
    """Return how many channels all layers with kernels give together.

    Args:
        model: a functional or built Sequential model.

    Example:
    >>> import keras, kbp
    >>> layers = [keras.Input((4,)), *map(keras.layers.Dense, (8, 2))]
    >>> kbp.sparsity.channel_count(keras.Sequential(layers))
    10
    """
    count = 0
    for layer in map(graph.unwrapped, graph.flatten(model).layers):
        traits = graph.traits_of(layer)
        if gives_channels(layer) and not traits.is_depthwise:
            count += graph.kernel_of(layer).shape[traits.output_axis]
    return count


def _rows(model: keras.Model) -> list[KernelSummary]:
    costs: dict[keras.Operation, int] = {}
    flat = graph.flatten(model)
    for node in graph.nodes(flat):
        source = node
        while isinstance(source.operation, ChannelScale) and source.producers:
            source = source.producers[0]
        if source is not node:
            source = source_of(source)
        cost = costs.get(node.operation, 0)
        costs[node.operation] = cost + multiply_adds(source)
    masked = [*masked_layers(flat)]
    together = collections.Counter[keras.Operation]()
    for layer in masked:
        together[layer.innermost] += math.prod(layer.kernel.shape)
    rows = []
    for name, layer in zip(names_of(masked), masked, strict=True):
        size, cost = math.prod(layer.kernel.shape), costs[layer.innermost]
        rows.append(_row(name, layer, cost * size // together[layer.innermost]))
    return rows


def _share(part: int, whole: int) -> str:
    units = ((1e9, " G"), (1e6, " M"), (1e3, " k"), (1, ""))
    unit, name = next(u for u in units if whole >= u[0] or u[0] == 1)
    return f"{part / unit:.3g}/{whole / unit:.3g}{name}"


def _row(name: str, layer: TransformedLayer, cost: int) -> KernelSummary:
    mask = hard_mask(layer)
    values = graph.values_of(layer.kernel)
    thresholds = [
        float(t.threshold) for t in layer.transforms if isinstance(t, DTM)
    ]
    return KernelSummary(
        name,
        tuple(mask.shape),
        mask.size,
        int(mask.sum()),
        int(np.count_nonzero(values * mask)),
        thresholds[0] if thresholds else None,
        cost,
    )
