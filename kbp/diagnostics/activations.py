"""The outputs of the layers within a model, and what is measured of them."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
from keras import ops

from kbp._utils.types import Tensor

RELUS = ("relu", "relu6")
SHARES = ("zeros", "dead", "saturated", "not_finite")
# Where activations end, by their names in lower case.
_RANGES = {
    **dict.fromkeys(("sigmoid", "hard_sigmoid", "softmax"), (0.0, 1.0)),
    **dict.fromkeys(("tanh", "hard_tanh", "softsign"), (-1.0, 1.0)),
}
# Of the range: there a sigmoid has 1/25 of its steepest slope.
_MARGIN = 0.01
_ROWS = 512  # of a layer, at most, whose rank is found; a convolution has many


def activation_of(layer: Any) -> str | None:
    """Return the name of a layer's activation in lower case, if it has one."""
    if isinstance(layer, keras.layers.ReLU | keras.layers.Softmax):
        return type(layer).__name__.lower()
    found = getattr(layer, "activation", None)
    if found is None:  # of a layer that is wrapped
        held = getattr(layer, "layer", None)
        return activation_of(held) if held is not None else None
    if isinstance(found, keras.layers.Layer):
        return activation_of(found)
    name = str(getattr(found, "__name__", type(found).__name__)).lower()
    return None if name == "linear" else name


@contextlib.contextmanager
def keeping_outputs(
    layers: Mapping[str, keras.layers.Layer],
    found: dict[str, tuple[Tensor | None, Tensor]],
) -> Iterator[None]:
    """Put what layers get and give within the context into a dictionary.

    Args:
        layers: by name.
        found: gets the first output of each that is called, of floats, with
            what it comes from if the layer is a ReLU alone; of several calls
            the largest, as some give a scale alone.
    """

    def alone(layer: keras.layers.Layer) -> bool:
        return activation_of(layer) in RELUS and not layer.weights

    def kept(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            outputs = call(*args, **kwargs)
            first, *_ = keras.tree.flatten(outputs)
            if "float" in keras.backend.standardize_dtype(first.dtype):
                got = None
                if alone(layers[name]):
                    got, *_ = keras.tree.flatten((args, kwargs))
                before = found.get(name, (got, first))
                found[name] = max(before, (got, first), key=_size)
            return outputs

        return run

    try:
        for name, layer in layers.items():
            layer.call = kept(name, layer.call)
        yield
    finally:
        for layer in layers.values():
            vars(layer).pop("call", None)


def measured(
    inputs: Tensor | None,
    outputs: Tensor,
    activation: str | None,
    *,
    ends: bool,
) -> tuple[Tensor, Tensor]:
    """Return the `SHARES` of a layer's outputs, and their singular values.

    Args:
        inputs: of an activation alone. A unit that gets nothing but 0 is
            closed by a mask, and not dead.
        outputs: tensor `(batch, ..., units)`.
        activation: that they come from.
        ends: whether they are the model's.

    Returns:
        Tensor `(4,)`, where `saturated` is not a number for a model's outputs
        and activations without a range; and the singular values of the rows of
        units, or of 512 of them, with zeros for what is not finite.
    """
    units = outputs.shape[-1] if len(outputs.shape) > 1 else 1
    rows = ops.cast(ops.reshape(outputs, (-1, units)), "float32")
    zero, finite = ops.equal(rows, 0), ops.isfinite(rows)
    saturated: Tensor = math.nan
    if activation in _RANGES and not ends:
        low, high = _RANGES[activation]
        margin = _MARGIN * (high - low)
        near = ops.minimum(ops.abs(rows - low), ops.abs(high - rows)) <= margin
        saturated = _share(near)
    dead, open_ = ops.all(zero, axis=0), ops.ones((units,), "bool")
    if inputs is not None:
        given = ops.reshape(inputs, (-1, units))
        open_ = ops.any(ops.not_equal(given, 0), axis=0)
    shares = [
        _share(zero),
        _share(ops.logical_and(dead, open_)) / ops.maximum(_share(open_), 1e-9),
        saturated,
        _share(ops.logical_not(finite)),
    ]
    stride = -(-rows.shape[0] // _ROWS)
    some = ops.where(finite, rows, 0.0)[::stride]
    # The backend's own, since NumPy's threads would compete with it for long
    # after the step.
    return ops.stack(shares), ops.svd(some, compute_uv=False)


def _size(call: tuple[Tensor | None, Tensor]) -> int:
    return math.prod(call[1].shape)


def _share(values: Tensor) -> Tensor:
    return ops.mean(ops.cast(values, "float32"))
