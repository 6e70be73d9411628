"""Recurrent layers in terms of a Dense layer and its steps."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from kbp import graph
from kbp._utils.types import Tensor
from kbp.layers import TruncatedRNN
from kbp.quantization.lowering.primitives import Part, Replacement
from kbp.quantization.placement import rules
from kbp.quantization.recurrence.cells import Cell, cell_of
from kbp.quantization.recurrence.recurrence import Recurrence

_MERGED: dict[str, Callable[..., keras.layers.Layer]] = {
    "ave": layers.Add,  # and halved
    "concat": layers.Concatenate,
    "mul": layers.Multiply,
    "sum": layers.Add,
}


def recurrent(layer: layers.RNN | TruncatedRNN, part: Part) -> Replacement:
    """Multiply all inputs by the kernel at once, then go step by step.

    Gradients in eight bits are not truncated, and the `dropout` and
    `recurrent_dropout` of cells are left out.
    """
    return _of_sequences(layer, _steps(layer, layer, part, ""))


def bidirectional(layer: layers.Bidirectional, part: Part) -> Replacement:
    """Read in both directions, and merge what comes out."""
    if layer.merge_mode not in _MERGED:
        raise rules.refusal(layer, "give it a merge_mode")
    forward, backward = (
        _steps(layer, one, part, f"{name}_", keep_order=True)
        for name, one in (
            ("forward", layer.forward_layer),
            ("backward", layer.backward_layer),
        )
    )
    merge = part(_MERGED[layer.merge_mode], None)

    def apply(inputs: Tensor) -> Tensor:
        merged = merge([forward(inputs), backward(inputs)])
        return merged * 0.5 if layer.merge_mode == "ave" else merged

    return _of_sequences(layer, apply)


def _of_sequences(layer: keras.layers.Layer, steps: Replacement) -> Replacement:
    def apply(inputs: Tensor, initial_state: Any = None) -> Tensor:
        if initial_state is not None:
            raise rules.refusal(layer, "call it without an initial state")
        return steps(inputs)

    return apply


def _steps(
    layer: keras.layers.Layer,
    of: layers.RNN | TruncatedRNN,
    part: Part,
    prefix: str,
    keep_order: bool = False,
) -> Replacement:
    """Return what takes the place of a layer, or of one inside of it."""
    of = of.layer if isinstance(of, TruncatedRNN) else of
    kind, cell = _checked(layer, of), of.cell
    kept = ("regularizer", "constraint")
    dense = part(
        layers.Dense,
        f"{prefix}inputs",
        kind.gates * cell.units,
        use_bias=cell.use_bias,
        trainable=layer.trainable,
        **{
            name: getattr(cell, name)
            for name in (f"{x}_{k}" for x in ("kernel", "bias") for k in kept)
        },
    )
    bias = graph.values_of(cell.bias) if cell.use_bias else np.zeros(0)
    steps = part(
        Recurrence,
        prefix.rstrip("_") or None,
        type(cell).__name__,
        cell.units,
        use_bias=bias.ndim == 2,
        return_sequences=of.return_sequences,
        go_backwards=of.go_backwards,
        keep_order=keep_order,
        trainable=layer.trainable,
        **{
            name: getattr(cell, name)
            for name in (f"recurrent_{k}" for k in kept)
        },
    )
    dense.build((None, None, cell.kernel.shape[0]))
    steps.build((None, None, cell.kernel.shape[1]))
    graph.copy_variable(cell.kernel, dense.kernel)
    graph.copy_variable(cell.recurrent_kernel, steps.kernel)
    if cell.use_bias:
        of_inputs, *of_state = np.atleast_2d(bias)
        dense.bias.assign(of_inputs)
        for values in of_state:
            steps.bias.assign(values)
    return lambda inputs: steps(dense(inputs))


def _checked(layer: keras.layers.Layer, of: layers.RNN) -> Cell:
    """Return the kind of a layer's cell.

    Raises:
        ValueError: the layer cannot be quantized.
    """
    kind, cell = cell_of(of), of.cell
    if kind is None:
        raise rules.refusal(layer, "use an LSTM, a GRU or a SimpleRNN")
    problem = kind.problem(cell)
    if of.stateful or of.return_state:
        problem = "use stateful=False and return_state=False"
    if cell.activation is not keras.activations.tanh:
        problem = "use activation='tanh'"
    gate = getattr(cell, "recurrent_activation", keras.activations.sigmoid)
    if gate is not keras.activations.sigmoid:
        problem = "use recurrent_activation='sigmoid'"
    if problem:
        raise rules.refusal(layer, problem)
    return kind
