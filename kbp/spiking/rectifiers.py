"""Networks of layers that are linear, and rectifiers apart from them."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers

from kbp import graph
from kbp._utils.arguments import check_integer
from kbp._utils.examples import Batch, first, shapes_of
from kbp.layers import Standardization, TableEncoding, TransformedLayer
from kbp.spiking.clip_floor_shift import LEAST, ClipFloorShift
from kbp.spiking.separable import without_separable

RECTIFIERS = (layers.ReLU, ClipFloorShift)
# Linear, or adding a constant besides, as all of it is at inference.
LINEAR = (
    *(layers.Dense, layers.EinsumDense, layers.Conv1D, layers.Conv2D),
    *(layers.Conv3D, layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    *(layers.SeparableConv1D, layers.SeparableConv2D),
    *(layers.Conv1DTranspose, layers.Conv2DTranspose),
    *(layers.Conv3DTranspose, layers.AveragePooling1D),
    *(layers.AveragePooling2D, layers.AveragePooling3D),
    *(layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D),
    *(layers.GlobalAveragePooling3D, layers.Add, layers.Subtract),
    *(layers.Average, layers.Concatenate, layers.Flatten, layers.Reshape),
    *(layers.Permute, layers.ZeroPadding1D, layers.ZeroPadding2D),
    *(layers.ZeroPadding3D, layers.Cropping1D, layers.Cropping2D),
    *(layers.Cropping3D, layers.UpSampling1D, layers.UpSampling2D),
    *(layers.UpSampling3D, layers.BatchNormalization, layers.Rescaling),
    *(layers.Normalization, layers.Identity),
)
# What rows of tables go through before anything else.
AT_INPUTS = (TableEncoding, Standardization)
_LARGEST_SAMPLE = 1_000_000  # values of a layer that a percentile is of


def apart(model: keras.Model) -> keras.Model:
    """Return a flat model of linear layers, rectifiers and last activations.

    Activations become layers, separable convolutions two of them, a
    BatchNormalization goes into the layer before it, layers that do nothing at
    inference are left out.

    Args:
        model: a functional or built Sequential model, left as it is.

    Returns:
        A model of the same function, with weights of its own.

    Raises:
        ValueError: a layer is neither linear nor a ReLU; it is named.
    """
    flat = without_separable(graph.flatten(model))
    made = graph.rewrite(flat, call=_Separation(flat))
    for node in graph.nodes(made):
        _check(node)
    return made


class _Separation:
    """Calls what takes a layer's place, which is made once for all uses."""

    def __init__(self, model: keras.Model) -> None:
        nodes = graph.nodes(model)
        self.nodes = iter(nodes)
        self.made: dict[keras.Operation, Callable[..., Any]] = {}
        operations = [node.operation for node in nodes]
        self.unique = graph.UniqueNames(x.name for x in model.operations)
        self.shared = {x for x in operations if operations.count(x) > 1}

    def __call__(
        self, layer: keras.Operation, *args: Any, **kwargs: Any
    ) -> Any:
        node = next(self.nodes)
        if isinstance(layer, TransformedLayer):
            raise ValueError(
                f"Layer {layer.name} has masks or ranges. Take them out by "
                "`kbp.sparsity.shrink` or `strip` first."
            )
        if layer not in self.made:
            self.made[layer] = self.make(layer, node)
        options = {k: v for k, v in kwargs.items() if v is not None}
        options.pop("training", None)
        return self.made[layer](*args, **options)

    def make(
        self, layer: keras.Operation, node: graph.Node
    ) -> Callable[..., Any]:
        if type(layer).__name__ == "Add" and len(node.inputs) == 2:
            name = self.unique(layer.name)
            return lambda *x, **_: layers.Add(name=name)(
                [*x] if len(x) == 2 else x[0]
            )
        if type(layer).__name__ == "ConvertToTensor":
            return lambda x, **_: x
        if type(layer).__name__ in ("SpaceToDepth", "DepthToSpace"):
            return self.patches(layer, node)
        if not isinstance(layer, keras.Layer):
            return layer
        if graph.traits_of(layer).training_only:
            return lambda x, **_: x
        function = getattr(layer, "activation", None)
        if isinstance(layer, layers.Activation):
            return self.activation(layer.name, function)
        changes = {}
        if function not in (None, keras.activations.linear):
            changes = {"activation": "linear"}
        linear = self.linear(layer, node, **changes)
        if not changes:
            return linear
        name = getattr(function, "__name__", "activation")
        follow = self.activation(self.unique(f"{layer.name}_{name}"), function)
        return lambda x, **options: follow(linear(x, **options))

    def linear(
        self, layer: keras.Layer, node: graph.Node, **changes: Any
    ) -> Callable[..., Any]:
        following = node.successor.operation if node.successor else None
        if (
            type(following) is layers.BatchNormalization
            and not {layer, following} & self.shared
            and not changes
            and _takes_offsets(layer)
            and following
            and following.axis in (-1, len(node.outputs[0].shape) - 1)
        ):
            self.made[following] = lambda x, **_: x
            return graph.folded(layer, following)
        if graph.traits_of(layer).kernel and changes:
            return graph.copy_layer(layer, **changes)
        new = graph.clone_layer(layer)
        if new is not layer and layer.weights:
            new.build_from_config(layer.get_build_config())
            graph.copy_weights(layer, new)
        if isinstance(new, layers.BatchNormalization):
            new.trainable = False  # its statistics are not those of a step
        return new

    def patches(self, operation: Any, node: graph.Node) -> Callable[..., Any]:
        """Return layers that do what an operation does with patches."""
        _, height, width, channels = node.inputs[0].shape
        _, rows, columns, depth = node.outputs[0].shape
        size, name = operation.block_size, operation.name
        parts = (rows, size, columns, size, channels)
        if type(operation).__name__ == "DepthToSpace":
            parts = (height, width, size, size, depth)
        steps = [
            layers.Reshape(parts, name=self.unique(f"{name}_parts")),
            layers.Permute((1, 3, 2, 4, 5), name=self.unique(f"{name}_order")),
            layers.Reshape((rows, columns, depth), name=self.unique(name)),
        ]

        def follow(x: Any, **_: Any) -> Any:
            for step in steps:
                x = step(x)
            return x

        return follow

    def activation(self, name: str, function: Any) -> keras.Layer:
        if function is keras.activations.relu:
            return layers.ReLU(name=name)
        if function is keras.activations.relu6:
            return layers.ReLU(6.0, name=name)
        return layers.Activation(function, name=name)


def _takes_offsets(layer: keras.Layer) -> bool:
    """Say whether factors and offsets of the last axis can go into a layer."""
    return bool(
        graph.traits_of(layer).kernel
        and hasattr(layer, "use_bias")
        and getattr(layer, "data_format", "channels_last") == "channels_last"
    )


def _check(node: graph.Node) -> None:
    layer = node.operation
    if isinstance(layer, LINEAR):
        return
    if isinstance(layer, AT_INPUTS) and all(
        isinstance(x._keras_history.operation, layers.InputLayer)
        for x in node.inputs
    ):
        return
    if isinstance(layer, layers.ReLU):
        if not layer.negative_slope and not layer.threshold:
            return
        advice = "a neuron answers nothing below 0"
    elif isinstance(layer, ClipFloorShift):
        return
    elif isinstance(layer, layers.Activation | layers.Softmax):
        if node.is_output and not node.consumers:
            return
        advice = "only ReLU becomes spikes, others may stand at the end"
    elif "Max" in type(layer).__name__ and "Pooling" in type(layer).__name__:
        advice = (
            "use average pooling, such as by model.pooling=average of a recipe"
        )
    else:
        advice = "use layers that are linear, and ReLU"
    raise ValueError(
        f"Layer {layer.name} ({type(layer).__name__}) cannot become spiking: "
        f"{advice}."
    )


def rectifiers(model: keras.Model) -> Iterator[graph.Node]:
    """Yield the uses of rectifiers in a model."""
    for node in graph.nodes(model):
        if isinstance(node.operation, RECTIFIERS):
            yield node


def percentiles(
    model: keras.Model,
    data: Any,
    *,
    percentile: float,
    examples: int,
    encoder: keras.Layer | None = None,
) -> dict[keras.Layer, float]:
    """Return for each rectifier a value that few of its values exceed.

    Args:
        model: of `apart`.
        data: inputs, in any form that `fit` takes.
        percentile: more than 0, at most 100.
        examples: how many of the inputs to take.
        encoder: that takes inputs of 0 to 1 alone, if there is one.

    Raises:
        ValueError: an argument is out of range, or the data do not fit.
    """
    check_integer(examples=examples)
    if not 0 < percentile <= 100:
        raise ValueError(
            "Argument `percentile` must be more than 0, at most 100. Received: "
            f"percentile={percentile!r}"
        )
    model, found = graph.retraced(model)
    found = [x for x in found if isinstance(x.operation, RECTIFIERS)]
    values = keras.Model(model.input, [x.outputs[0] for x in found])
    rng = np.random.default_rng(0)
    seen: list[list[np.ndarray]] = [[] for _ in found]
    each = max(1, _LARGEST_SAMPLE // examples)  # values of an example
    for batch in first(data, shapes_of(model), "Data", examples):
        if encoder is not None:
            _check_shares(encoder, batch)
        outputs = values(batch.for_model(model), training=False)
        for kept, x in zip(seen, keras.tree.flatten(outputs), strict=True):
            flat = keras.ops.convert_to_numpy(x).ravel()
            count = min(flat.size, each * len(batch))
            kept.append(rng.choice(flat, count, replace=False))
    limits: dict[keras.Layer, float] = {}
    for node, kept in zip(found, seen, strict=True):
        limit = float(np.percentile(np.concatenate(kept), percentile))
        limits[node.operation] = max(limit, limits.get(node.operation, LEAST))
    return limits


def _check_shares(encoder: keras.Layer, batch: Batch) -> None:
    """Refuse inputs that a code of 0 to 1 would cut off."""
    for x in batch.inputs:
        low, high = float(x.min()), float(x.max())
        if low < 0 or high > 1:
            raise ValueError(
                f"Argument `encoder` ({type(encoder).__name__}) takes values "
                f"of 0 to 1, and the data have {low:g} to {high:g}. Rescale "
                "the inputs, and train on these, or leave the encoder out."
            )
