"""What a person has decided about the quantization of layers."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import layers

from kbp import graph
from kbp.errors import nearest
from kbp.layers import TransformedLayer
from kbp.quantization.bias import GridNormalization, QuantizedLayer
from kbp.quantization.config import QuantizeConfig
from kbp.quantization.fake_quantize import FakeQuantize
from kbp.quantization.placement import rules


class QuantizationPolicy:
    """What the user has decided of layers; it contains these layers.

    Args:
        model: a flat model.
        skip: names or classes of layers, or functions of `keras.ops`, that
            stay in float.
        configs: from names or classes to how these layers are rounded.
        int16: names or classes of Dense layers between layers in float, whose
            inputs and results have 16 bits.

    Raises:
        ValueError: a name is no layer's.
    """

    def __init__(
        self,
        model: keras.Model,
        skip: Sequence[str | type | Callable[..., Any]],
        configs: Mapping[str | type, QuantizeConfig],
        int16: Sequence[str | type] = (),
    ) -> None:
        for argument, given in (("skip", skip), ("int16", int16)):
            if not isinstance(given, list | tuple | set | frozenset):
                raise ValueError(
                    f"Argument `{argument}` must be a list. "
                    f"Received: {argument}={given!r}"
                )
        if not isinstance(configs, Mapping) or not all(
            isinstance(config, QuantizeConfig) for config in configs.values()
        ):
            raise ValueError(
                "Argument `configs` must be a dict from names and classes to "
                f"objects of QuantizeConfig. Received: configs={configs!r}"
            )
        self.skip = frozenset(
            x if isinstance(x, str | type) else _class_of(x) for x in skip
        )
        self.configs, self.int16 = configs, frozenset(int16)
        operations = {graph.unwrapped(o) for o in model.operations}
        names = {operation.name for operation in operations}
        for argument, keys in (
            ("skip", skip),
            ("configs", configs),
            ("int16", int16),
        ):
            for key in keys:
                if isinstance(key, str) and key not in names:
                    raise ValueError(
                        f"Argument `{argument}` names no layer of model "
                        f"{model.name}. Received: {key!r}{nearest(key, names)}"
                    )
        for operation in operations:
            if self.skips(operation) and (rules.is_same_scale(operation)):
                raise ValueError(
                    f"Layer {operation.name} in `skip` keeps the range of what "
                    "it is given; LiteRT computes it in integers."
                )

    def __contains__(self, operation: object) -> bool:
        return self.skips(operation) or self.config(operation) is not None

    def skips(self, operation: keras.Operation) -> bool:
        """Say whether a layer stays in float."""
        return rules.computes_in_float(operation) or bool(
            {operation.name, type(operation)} & self.skip
        )

    def has_16_bits(self, node: graph.Node) -> bool:
        """Say whether a layer reads and gives numbers of 16 bits.

        Raises:
            ValueError: it is to, and LiteRT has no such operation there.
        """
        layer = node.operation
        if not {layer.name, type(layer)} & self.int16:
            return False
        beside = [*node.producers, *node.consumers]
        if (
            type(layer) is not layers.Dense
            or layer in self
            or node.is_output
            or not (node.producers and node.consumers)
            or not all(self.skips(other.operation) for other in beside)
        ):
            raise ValueError(
                f"Layer {layer.name} in `int16` must be a Dense layer that "
                "reads what layers in float give, and gives what layers in "
                "float read: LiteRT converts nothing else to and from 16 bits. "
                "Add those beside it to `skip`, or leave it out."
            )
        return True

    def config(self, operation: keras.Operation) -> QuantizeConfig | None:
        """Return the user's config of a layer."""
        for key in (operation.name, type(operation)):
            if key in self.configs:
                return self.configs[key]
        return None

    def rounds(self, operation: keras.Operation) -> bool:
        """Say whether nothing can be computed with a layer's result unrounded.

        So it is unless the user's config leaves the result open.
        """
        config = self.config(operation)
        return self.skips(operation) or bool(
            config and config.get_output_quantizers(operation)
        )

    def with_rounded_weights(self, layer: keras.Operation) -> keras.Operation:
        """Copy a layer; its weights, if there are any, are rounded last."""
        old = graph.unwrapped(layer)
        if graph.traits_of(old).rounds_inputs and old not in self:
            return graph.clone_layer(old, rounds=True)
        rounded = self.rounded_weights(old)
        if not rounded:
            if type(old) is layers.BatchNormalization and old not in self:
                return GridNormalization.from_config(old.get_config())
            return graph.clone_layer(layer)
        given = {
            name: [*map(graph.clone_layer, transforms)]
            for name, transforms in graph.transforms_by_kernel(layer).items()
        }
        for name, quantizer in rounded:  # outside, and of a kernel the last
            given[name] = [*given.pop(name, []), quantizer]
        new = graph.clone_layer(old, name=layer.name)
        *others, (kernel, transforms) = given.items()
        for name, inner in others:
            new = TransformedLayer(new, inner, kernel=name)
        kind = TransformedLayer if self.config(old) else QuantizedLayer
        return kind(new, transforms, kernel=kernel)

    def rounded_weights(
        self, layer: keras.Operation
    ) -> list[tuple[str, FakeQuantize]]:
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
        traits = graph.traits_of(layer)
        if traits.kernel and traits.kernel_quantizer:
            # Not named by a count of what the process has made before: the
            # name is in the file, whose bytes a resumed run repeats.
            name = f"{traits.kernel}_quant"
            quantizer = FakeQuantize(traits.kernel_quantizer, name=name)
            return [(traits.kernel, quantizer)]
        return []


def _class_of(function: Callable[..., Any]) -> type:
    """Return the class of a function's operations."""
    name = getattr(function, "__name__", "")
    if getattr(keras.ops, name, None) is function:
        tensor = keras.KerasTensor((2, 2))
        for arguments in ((tensor,), (tensor, tensor)):
            with contextlib.suppress(TypeError):
                return type(function(*arguments)._keras_history.operation)
    raise ValueError(
        "Argument `skip` holds names and classes of layers, and functions of "
        f"keras.ops of one or two tensors. Received: {function!r}"
    )


def _attribute_of(layer: keras.layers.Layer, weight: keras.Variable) -> str:
    """Return the name under which a layer keeps a weight."""
    for name, value in vars(layer).items():
        if value is weight:
            public = name.lstrip("_")  # Keras's kernels are properties
            return public if hasattr(layer, public) else name
    raise ValueError(
        f"The QuantizeConfig of layer {layer.name} names weight "
        f"{weight.path}, which is none of the layer's attributes."
    )
