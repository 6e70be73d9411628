"""Which tensors lose what a model loses in eight bits."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kbp import graph
from kbp._compat import deep_graphs
from kbp.quantization.calibrate import fake_quantizers, take
from kbp.quantization.fake_quantize import FakeQuantize
from kbp.quantization.quantize import quantize

_SUFFIX = re.compile(r"_(quant|int16)(_\d+)?$")  # of the names of `Placement`


@dataclass(frozen=True)
class RoundedTensor:
    """A kernel or an activation, and what its rounding alone costs.

    Attributes:
        layer: name of the layer, or of the model's input.
        tensor: `"kernel"`, or `"activation"`: what the layer gives; of a
            recurrent layer a tensor of its step, such as `"memory"`.
        error: root mean square difference of the model's outputs, in standard
            deviations of each of their columns.

    Example:
    >>> from kbp.quantization import RoundedTensor
    >>> RoundedTensor("dense", "kernel", 0.01).layer
    'dense'
    """

    layer: str
    tensor: str
    error: float


@dataclass(frozen=True)
class Sensitivity:
    """What each tensor of a model costs in eight bits, the dearest first.

    As text it is a table.

    Attributes:
        tensors: all that are rounded, by falling errors.
        error: of the outputs when all of them are rounded, as of one.

    Example:
    >>> from kbp.quantization import RoundedTensor, Sensitivity
    >>> found = Sensitivity((RoundedTensor("dense", "kernel", 0.25),), 0.25)
    >>> print(found)
      error  tensor      layer
    0.25000  kernel      dense
    0.25000  all
    >>> found.layers
    ('dense',)
    """

    tensors: tuple[RoundedTensor, ...]
    error: float

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of layers, the dearest first; some of them for `skip`."""
        return tuple(dict.fromkeys(tensor.layer for tensor in self.tensors))

    def __str__(self) -> str:
        rows = [
            *((f"{x.error:.5f}", x.tensor, x.layer) for x in self.tensors),
            (f"{self.error:.5f}", "all", ""),
        ]
        return "\n".join(
            f"{error:>7}  {tensor:10}  {layer}".rstrip()
            for error, tensor, layer in [("error", "tensor", "layer"), *rows]
        )


@deep_graphs()
def sensitivity(
    model: keras.Model, data: Any, *, examples: int = 256, **options: Any
) -> Sensitivity:
    """Return what the rounding of each tensor alone does to the outputs.

    One tensor is rounded at a time, all others pass in float. The first rows
    say where a loss in eight bits comes from, and which layers are worth their
    place in `skip`.

    Args:
        model: a model from `quantize_aware` or `quantize`; or one in float,
            which `quantize` rounds by these data first. Left as it is.
        data: examples in any form that `fit` takes, see `quantize_aware`.
        examples: how many of them to take.
        **options: arguments of `quantize_aware`, for a model in float.

    Returns:
        The tensors by falling errors, each relative to the model whose tensors
        all pass.

    Raises:
        ValueError: as of `quantize_aware`; or options are given with a model
            that is quantization-aware already.

    Example:
    >>> import keras, numpy as np
    >>> from kbp.quantization import sensitivity
    >>> layers = [keras.layers.Dense(8, name=name) for name in ("a", "b")]
    >>> model = keras.Sequential([keras.Input((4,), name="x"), *layers])
    >>> data = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    >>> found = sensitivity(model, data)
    >>> sorted((x.layer, x.tensor) for x in found.tensors)[:2]
    [('a', 'activation'), ('a', 'kernel')]
    """
    if not any(True for _ in fake_quantizers(model)):
        rounded = quantize(
            model, data, **{"calibration_examples": examples, **options}
        )
    elif options:
        raise ValueError(
            f"Model {model.name} is quantization-aware already, and takes no "
            f"{', '.join(options)}."
        )
    else:
        rounded = model
    batches = take(rounded, data, examples)
    named = [*_named(rounded)]
    before = {quantizer: quantizer.passing for *_, quantizer in named}
    try:
        for quantizer in before:
            quantizer.passing = True
        exact, found = _outputs(rounded, batches), []
        for layer, tensor, quantizer in named:
            quantizer.passing = False
            error = _error(_outputs(rounded, batches), exact)
            found.append(RoundedTensor(layer, tensor, error))
            quantizer.passing = True
        for quantizer in before:
            quantizer.passing = False
        together = _error(_outputs(rounded, batches), exact)
    finally:
        for quantizer, passing in before.items():
            quantizer.passing = passing
    order = sorted(found, key=lambda x: -x.error)
    return Sensitivity(tuple(order), together)


def _named(model: keras.Model) -> Iterator[tuple[str, str, FakeQuantize]]:
    """Yield each quantizer with its layer's name and what it rounds.

    An activation function of a layer, which quantization makes a layer of its
    own, counts as part of that layer.
    """
    every = graph.flatten(model).layers
    names = {layer.name for layer in every}
    for layer in every:
        if isinstance(layer, FakeQuantize):
            name = _SUFFIX.sub("", layer.name)
            whole, _, function = name.rpartition("_")
            if whole in names and hasattr(keras.activations, function):
                name = whole
            yield name, "activation", layer
        for transform in graph.transforms(layer):
            if isinstance(transform, FakeQuantize):
                yield layer.name, "kernel", transform
        for inside in getattr(layer, "rounders", ()):
            yield layer.name, inside.name.removeprefix(f"{layer.name}_"), inside


def _outputs(model: keras.Model, batches: Sequence[Any]) -> list[np.ndarray]:
    """Return all outputs in float64, `(values, columns)` each."""
    found = [
        [
            keras.ops.convert_to_numpy(x).astype("float64")
            for x in keras.tree.flatten(model(inputs, training=False))
        ]
        for inputs in batches
    ]
    return [
        np.concatenate(
            [x.reshape(-1, x.shape[-1] if x.ndim > 1 else 1) for x in parts]
        )
        for parts in zip(*found, strict=True)
    ]


def _error(outputs: list[np.ndarray], exact: list[np.ndarray]) -> float:
    """Return the root of the mean square difference over the variance."""
    shares = [
        np.mean(np.square(x - y), axis=0) / np.where(variance, variance, 1.0)
        for x, y in zip(outputs, exact, strict=True)
        for variance in [y.var(axis=0)]
    ]
    return float(np.sqrt(np.mean(np.concatenate(shares))))
