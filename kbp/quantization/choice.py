"""How a user has layers quantized."""

from collections.abc import Callable, Mapping, Sequence

import keras
from keras import layers

from kbp import graph
from kbp.errors import nearest
from kbp.layers import TransformedLayer
from kbp.quantization import rules
from kbp.quantization.bias import GridNormalization, QuantizedLayer
from kbp.quantization.config import QuantizeConfig
from kbp.quantization.fake_quantize import FakeQuantize


class Choice:
    """What the user has decided of layers; it contains these layers.

    Args:
        model: a flat model.
        skip: names or classes of layers, or functions of `keras.ops`, that
            stay in float.
        configs: from names or classes to how these layers are rounded.

    Raises:
        ValueError: a name is no layer's.
    """

    def __init__(
        self,
        model: keras.Model,
        skip: Sequence[str | type | Callable],
        configs: Mapping[str | type, QuantizeConfig],
    ):
        if isinstance(skip, str):
            raise ValueError(
                f"Argument `skip` must be a list. Received: skip={skip!r}"
            )
        operations = {graph.unwrapped(o) for o in model.operations}
        names = {operation.name for operation in operations}
        for argument, keys in (("skip", skip), ("configs", configs)):
            for name in keys:
                if isinstance(name, str) and name not in names:
                    raise ValueError(
                        f"Argument `{argument}` names no layer of model "
                        f"{model.name}. Received: {name!r}"
                        f"{nearest(name, names)}"
                    )
        self.skip, self.configs = frozenset(skip), configs
        self.skipped_kinds = {
            _kind_of(x) for x in skip if not isinstance(x, str | type)
        }

    def __contains__(self, operation):
        return self.skips(operation) or self.config(operation) is not None

    def skips(self, operation) -> bool:
        """Say whether a layer stays in float."""
        kind = type(operation)
        return (
            bool({operation.name, kind} & self.skip)
            or kind.__name__.lower() in self.skipped_kinds
        )

    def config(self, operation) -> QuantizeConfig | None:
        """Return the user's config of a layer."""
        for key in (operation.name, type(operation)):
            if key in self.configs:
                return self.configs[key]
        return None

    def rounds(self, operation) -> bool:
        """Say whether nothing can be computed with a layer's result unrounded.

        So it is unless the user's config leaves the result open.
        """
        config = self.config(operation)
        return self.skips(operation) or bool(
            config and config.get_output_quantizers(operation)
        )

    def with_rounded_weights(self, layer):
        """Copy a layer; its weights, if there are any, are rounded last."""
        old = graph.unwrapped(layer)
        rounded = self.rounded_weights(old)
        if not rounded:
            if type(old) is layers.BatchNormalization and old not in self:
                return GridNormalization.from_config(old.get_config())
            return graph.copy(layer)
        new = graph.copy(old, name=layer.name)
        (name, quantizer), *others = rounded
        kept = [graph.copy(t) for t in graph.transforms(layer)]
        kind = TransformedLayer if self.config(old) else QuantizedLayer
        new = kind(new, [*kept, quantizer], kernel=name)
        for name, quantizer in others:
            new = TransformedLayer(new, [quantizer], kernel=name)
        return new

    def rounded_weights(self, layer) -> list[tuple[str, FakeQuantize]]:
        """Return names of a layer's attributes, each with its quantizer."""
        if self.skips(layer):
            return []
        config = self.config(layer)
        if config:
            return [
                (_attribute_of(layer, weight), quantizer)
                for weight, quantizer in config.get_weights_and_quantizers(
                    layer
                )
            ]
        if type(layer) in rules.KERNELS:
            kind, name = rules.KERNELS[type(layer)]
            return [(name, FakeQuantize(kind))]
        return []


def _kind_of(function):
    """Return the name in small letters of a function's operation class."""
    name = getattr(function, "__name__", "")
    if getattr(keras.ops, name, None) is not function:
        raise ValueError(
            "Argument `skip` holds names and classes of layers, and functions "
            f"of keras.ops. Received: {function!r}"
        )
    return name.replace("_", "")  # `keras.ops.log_softmax`: `LogSoftmax`


def _attribute_of(layer, weight):
    """Return the name under which a layer keeps a weight."""
    for name, value in vars(layer).items():
        if value is weight:
            public = name.lstrip("_")  # Keras's kernels are properties
            return public if hasattr(layer, public) else name
    raise ValueError(
        f"The QuantizeConfig of layer {layer.name} names weight "
        f"{weight.path}, which is none of the layer's attributes."
    )
