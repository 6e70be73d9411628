"""Models in terms of the layers that have 8-bit rules.

LiteRT's integer operations are fewer than Keras's layers. Before quantizers are
placed, each layer that LiteRT computes as several operations, or as another
one, is replaced by what it is made of: `kbp.quantization.placement.rules` then
knows every layer that is left, or refuses it.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from kbp import graph
from kbp.layers import TruncatedRNN
from kbp.quantization.lowering import categories, images, primitives, units
from kbp.quantization.lowering.attention import attention
from kbp.quantization.lowering.recurrent import bidirectional, recurrent
from kbp.quantization.lowering.repetitions import without_repetitions
from kbp.quantization.placement import rules
from kbp.quantization.policy import QuantizationPolicy

# What takes the place of a layer of these classes, or of an operation.
_REPLACED: dict[type | str, Callable[..., primitives.Replacement]] = {
    "Clip": primitives.clip,
    "Negative": primitives.negative,
    "OneHot": categories.one_hot,
    "Softmax": primitives.softmax,
    "Sum": primitives.total,
    layers.Add: primitives.two_by_two,
    layers.Average: primitives.average,
    layers.Bidirectional: bidirectional,
    layers.CategoryEncoding: categories.category_encoding,
    layers.CenterCrop: images.center_crop,
    layers.GRU: recurrent,
    layers.LSTM: recurrent,
    layers.Maximum: primitives.two_by_two,
    layers.Minimum: primitives.two_by_two,
    layers.MultiHeadAttention: attention,
    layers.Multiply: primitives.two_by_two,
    layers.Normalization: primitives.standardization,
    layers.RNN: recurrent,
    layers.RandomCrop: images.random_crop,
    layers.Rescaling: primitives.rescaling,
    layers.Resizing: images.resizing,
    layers.SeparableConv1D: primitives.separate,
    layers.SeparableConv2D: primitives.separate,
    layers.SimpleRNN: recurrent,
    layers.UpSampling2D: primitives.enlarge,
    TruncatedRNN: recurrent,
}

_CLIPS = (keras.activations.relu, keras.activations.relu6)


def lower(
    model: keras.Model, policy: QuantizationPolicy | None = None
) -> keras.Model:
    """Return a flat model of layers that have 8-bit rules.

    BatchNormalization stands behind convolutions of images, where LiteRT's
    converter folds it. Behind layers whose kernels have one range it is folded
    here, and anywhere else it becomes a 1x1 depthwise convolution, both with
    its statistics as they are now. It is folded as well where it removes
    channels, because a kernel of zero times a factor has a range, and a kernel
    times a factor of zero has none. A Normalization of columns in units so
    different that no one range in eight bits holds them stays in float, and so
    does a BatchNormalization that reads such inputs of the model.

    Args:
        model: a flat model, left as it is.
        policy: what the user has decided of layers, which stay as they are.

    Returns:
        A functional model of the same function, which computes nothing twice;
        it shares the layers that stay.

    Raises:
        ValueError: a layer cannot be lowered; the message names it and says
            what to do.
    """
    policy = policy or QuantizationPolicy(model, (), {})
    # Once more behind: what it is made of may have become the same.
    model = without_repetitions(model, policy)
    lowering = _Lowering(graph.nodes(model), policy)
    return without_repetitions(graph.rewrite(model, call=lowering), policy)


class _Lowering:
    """Calls what takes a layer's place, which is made once for all uses."""

    def __init__(
        self, nodes: list[graph.Node], policy: QuantizationPolicy
    ) -> None:
        self.nodes = iter(nodes)
        self.policy = policy
        self.made: dict[keras.Operation, primitives.Replacement] = {}
        self.watchers: dict[keras.Operation, Callable[..., Any]] = {}
        self.unique = graph.UniqueNames(node.operation.name for node in nodes)
        operations = [node.operation for node in nodes]
        self.shared = {o for o in operations if operations.count(o) > 1}
        # Such a normalization stays if it can behind each of its uses.
        self.apart = {
            node.operation
            for node in nodes
            if type(node.operation) is layers.BatchNormalization
            and not any(map(self.takes, node.producers))
        }

    def __call__(
        self, layer: keras.Operation, *args: Any, **kwargs: Any
    ) -> Any:
        node = next(self.nodes)
        if node.operation in self.policy and not units.is_of_units(node):
            return layer(*args, **kwargs)
        if node.operation not in self.made:
            rules.check_inputs(node)
            self.made[node.operation] = self.make(layer, node)
        made = self.made[node.operation]
        if made is layer:
            return made(*args, **kwargs)
        if graph.adds_loss(node.operation):
            raise rules.refusal(
                node.operation, "add to the loss in a layer of its own"
            )
        if isinstance(made, keras.Operation):
            return self.regularized(node.operation, made(*args, **kwargs))
        said = {k: v for k, v in kwargs.items() if v is not None}
        options = {k: v for k, v in said.items() if v is not False}
        options.pop("training", None)
        if any(key.endswith("mask") for key in options):
            raise rules.refusal(node.operation, "call it without a mask")
        outputs = made(*args, **options)
        graph.name_operations(node.operation.name, (args, kwargs), outputs)
        return self.regularized(node.operation, outputs)

    def regularized(self, operation: keras.Operation, outputs: Any) -> Any:
        """Let what takes a layer's place add the same of it to the loss."""
        regularizer = getattr(operation, "activity_regularizer", None)
        if regularizer is None:
            return outputs
        if operation not in self.watchers:
            last = graph.unwrapped(outputs._keras_history.operation)
            if isinstance(last, keras.Layer) and last not in self.shared:
                self.watchers[operation] = lambda x: x
            else:
                last = self.part(
                    operation, layers.Activation, "activity", "linear"
                )
                self.watchers[operation] = last
            # Given to a constructor, some layers would have no config.
            last.activity_regularizer = regularizer
        return self.watchers[operation](outputs)

    def make(
        self, layer: keras.Operation, node: graph.Node
    ) -> primitives.Replacement:
        """Return what to call in a layer's place, perhaps itself."""
        operation = node.operation
        part = functools.partial(self.part, operation)
        if node.is_output and units.gives_units(operation):
            return units.to_units(operation, part)
        if units.is_of_units(node):
            if node.producers:
                raise ValueError(
                    f"Layer {operation.name} ({type(operation).__name__}) "
                    "cannot be quantized: one range in eight bits cannot hold "
                    "columns of such different units. Let it read an input of "
                    "the model, which is then kept in float."
                )
            return units.in_units(operation, part)
        kind = type(operation)
        is_layer = isinstance(operation, keras.Layer)
        replace = _REPLACED.get(kind if is_layer else kind.__name__)
        if replace:
            return replace(operation, part)
        if type(operation) is layers.BatchNormalization:
            return self.normalization(node, part)
        if clip := self.clip_behind(node):
            return self.clipped_before(layer, clip)
        if node.successor and self.folds(node):
            return graph.folded(layer, node.successor.operation)
        if self.sheds_bias(node):
            return primitives.without_bias(layer)
        traits = graph.traits_of(operation)
        if traits.kernel_quantizer and hasattr(operation, "activation"):
            return primitives.apart(layer, part)
        if traits.activation is not None:
            return primitives.activation(traits.activation, part, None)
        return layer

    def clip_behind(self, node: graph.Node) -> graph.Node | None:
        """Return the use of a ReLU that may as well come first, if one is.

        LiteRT takes a ReLU into what computes its values, also where they are
        moved in between, and rounds them once.
        """
        if node.operation in self.shared or _is_watched(node.operation):
            return None
        following: graph.Node | None = node
        while following and _moves(following):
            following = following.successor
            if following is None or (
                following.operation in self.policy
                or following.operation in self.shared
                or following.operation in self.made
                or _is_watched(following.operation)
            ):
                return None
        if following is node or not following:
            return None
        operation = following.operation
        activation = graph.traits_of(operation).activation
        clips = type(operation) is layers.ReLU or activation in _CLIPS
        return following if clips else None

    def clipped_before(
        self, layer: keras.Operation, node: graph.Node
    ) -> primitives.Replacement:
        """Return a ReLU and what moves values behind it, with one result."""
        clip = self.make(node.operation, node)
        self.made[node.operation] = lambda inputs: inputs
        return lambda inputs, *args, **kwargs: layer(
            clip(inputs), *args, **kwargs
        )

    def part(
        self,
        operation: keras.Operation,
        kind: Callable[..., keras.layers.Layer],
        suffix: str | None,
        *args: Any,
        **options: Any,
    ) -> keras.layers.Layer:
        """Make a layer that is a part of another."""
        name = operation.name
        if suffix is not None:
            name = self.unique(f"{name}_{suffix}")
        policy = getattr(operation, "dtype_policy", None)
        if policy is not None and type(policy) is keras.DTypePolicy:
            policy = policy.name  # which every layer's config can hold
        common = {"name": name, **({"dtype": policy} if policy else {})}
        if isinstance(kind, type):
            return kind(*args, **options, **common)
        (config,) = args  # of `from_config`
        return kind({**config, **common})

    def normalization(
        self, node: graph.Node, part: primitives.Part
    ) -> primitives.Replacement:
        norm = node.operation
        if not _is_of_last_axis(norm, node.inputs[0]):
            raise rules.refusal(norm, "normalize the last axis")
        if norm not in self.apart:
            (producer,) = node.producers[:1]
            if self.sheds_bias(producer):
                return primitives.with_bias_of(norm, producer.operation)
            return norm
        for name in ("gamma_regularizer", "beta_regularizer"):
            if getattr(norm, name):
                raise rules.refusal(norm, f"give it no {name}")
        if any(map(self.folds, node.producers)):
            return lambda inputs: inputs
        return primitives.normalization(norm, part)

    def takes(self, node: graph.Node) -> bool:
        """Say whether LiteRT takes the normalization behind a node into it."""
        return (
            node.successor is not None
            and rules.fuses_forward(node)
            and not self.policy.rounds(node.operation)
            and not primitives.is_pruned(node.successor.operation)
        )

    def sheds_bias(self, node: graph.Node) -> bool:
        """Say whether the normalization behind a node takes its bias over.

        One of the two biases is enough, and one can be rounded as a whole.
        """
        norm = node.successor and node.successor.operation
        return (
            type(norm) is layers.BatchNormalization
            and self.takes(node)
            and getattr(node.operation, "use_bias", False)
            and norm not in self.policy
            and node.operation not in self.policy
            and not {norm, node.operation} & self.shared
            and not _is_watched(node.operation)
            and node.operation.bias_regularizer is None
        )

    def folds(self, node: graph.Node) -> bool:
        """Say whether the normalization behind a node is folded here."""
        norm = node.successor and node.successor.operation
        return (
            type(norm) is layers.BatchNormalization
            and _is_of_last_axis(norm, node.outputs[0])
            and norm not in self.policy
            and node.operation not in self.policy
            and (
                graph.traits_of(node.operation).batch_norm == "lowering"
                or (rules.fuses_forward(node) and primitives.is_pruned(norm))
            )
            and rules.is_linear(node.operation)
            and not _is_watched(node.operation)
            and not {norm, node.operation} & self.shared
        )


def _moves(node: graph.Node) -> bool:
    """Say whether a use gives the values it is given, or their maxima.

    One that leaves out values does not count: a ReLU before it has more to do.
    """
    operation = node.operation
    if isinstance(operation, layers.MaxPooling1D | layers.MaxPooling2D):
        return True
    traits = graph.traits_of(operation)
    if (
        traits.rounding != "copied"
        # Of what is random in training, only zeros are the same behind a ReLU.
        or (traits.training_only and not isinstance(operation, layers.Dropout))
        or len(node.inputs) != 1
        or len(node.outputs) != 1
        or not all(map(rules.is_float, (*node.inputs, *node.outputs)))
    ):
        return False
    shapes = [x.shape[1:] for x in (node.inputs[0], node.outputs[0])]
    if any(None in shape for shape in shapes):
        return False
    before, after = map(math.prod, shapes)
    return after >= before


def _is_watched(operation: keras.Operation) -> bool:
    """Say whether a layer's result adds to the loss."""
    regularizer = getattr(operation, "activity_regularizer", None)
    return regularizer is not None or graph.adds_loss(operation)


def _is_of_last_axis(
    norm: layers.BatchNormalization, inputs: keras.KerasTensor
) -> bool:
    return norm.axis in (-1, len(inputs.shape) - 1)
