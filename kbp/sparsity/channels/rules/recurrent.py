"""Recurrent layers: they read channels, and all that they give stays."""

from collections.abc import Iterator

import keras
import numpy as np
from keras import layers

from kbp.graph import Node, traits_of, values_of
from kbp.sparsity.channels.registry import register_channel_rule
from kbp.sparsity.channels.tracing import (
    Channels,
    IndexMap,
    Trace,
    kept,
    shape_of,
)


@register_channel_rule("recurrent", of_many=True)
def recurrent(
    trace: Trace, node: Node, inputs: list[Channels]
) -> list[Channels]:
    """LSTM, GRU, ...: each cell's first kernel reads the channels."""
    x, *states = inputs
    kernels = [*_kernels(node.operation)]
    if any(kernel is None for kernel in kernels):
        return trace.keep_through(node, inputs)
    for state in states:
        trace.keep(state)
    groups, zero = trace.along_last(x)
    nothing, weights = np.ones_like(zero), {}
    for variable in kernels:
        kernel = np.moveaxis(values_of(variable), -2, 0)
        kernel = kernel.reshape(len(groups), -1)  # (channels, weights of each)
        nothing &= zero | ~kernel.any(axis=1)
        weights[id(variable)] = {-2: groups}
    trace.read(groups, nothing)
    trace.map(node.operation, IndexMap(weights))
    return [kept(shape_of(y)) for y in node.outputs]


def _kernels(layer: keras.layers.Layer) -> Iterator[keras.Variable | None]:
    """Yield the kernels that read the input; `None` if one is not known."""
    if traits_of(layer).channels != "recurrent":
        yield None
    elif isinstance(layer, layers.Bidirectional):
        yield from _kernels(layer.forward_layer)
        yield from _kernels(layer.backward_layer)
    else:
        cell = getattr(layer.cell, "cells", [layer.cell])[0]
        first = getattr(cell, "data_format", None) == "channels_first"
        # That of Keras's other layers is theirs, a cell of `RNN` a person's.
        own = isinstance(layer, layers.RNN) and type(layer) is not layers.RNN
        name = "kernel" if own else traits_of(cell).kernel
        yield None if first or name is None else getattr(cell, name)
