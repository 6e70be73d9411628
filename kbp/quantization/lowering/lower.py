"""Models in terms of the layers that have 8-bit rules.

LiteRT's integer operations are fewer than Keras's layers. Before quantizers are
placed, each layer that LiteRT computes as several operations, or as another
one, is replaced by what it is made of: `kbp.quantization.placement.rules` then
knows every layer that is left, or refuses it.
"""

import functools
from collections.abc import Callable

import keras
from keras import layers

from kbp import graph
from kbp.quantization.lowering import primitives
from kbp.quantization.lowering.attention import attention
from kbp.quantization.placement import rules
from kbp.quantization.policy import QuantizationPolicy

# What takes the place of a layer of these classes.
_REPLACED = {
    layers.Add: primitives.two_by_two,
    layers.Average: primitives.average,
    layers.Maximum: primitives.two_by_two,
    layers.Minimum: primitives.two_by_two,
    layers.MultiHeadAttention: attention,
    layers.Multiply: primitives.two_by_two,
    layers.Normalization: primitives.standardization,
    layers.Rescaling: primitives.rescaling,
    layers.SeparableConv1D: primitives.separate,
    layers.SeparableConv2D: primitives.separate,
    layers.UpSampling2D: primitives.enlarge,
}


def lower(
    model: keras.Model, policy: QuantizationPolicy | None = None
) -> keras.Model:
    """Return a flat model of layers that have 8-bit rules.

    BatchNormalization stands behind convolutions of images, where LiteRT's
    converter folds it. Behind layers whose kernels have one range it is folded
    here, and anywhere else it becomes a 1x1 depthwise convolution, both with
    its statistics as they are now. It is folded as well where it removes
    channels, because a kernel of zero times a factor has a range, and a kernel
    times a factor of zero has none.

    Args:
        model: a flat model, left as it is.
        policy: what the user has decided of layers, which stay as they are.

    Returns:
        A functional model of the same function; it shares the layers that stay.

    Raises:
        ValueError: a layer cannot be lowered; the message names it and says
            what to do.
    """
    policy = policy or QuantizationPolicy(model, (), {})
    return graph.rewrite(model, call=_Lowering(graph.nodes(model), policy))


class _Lowering:
    """Calls what takes a layer's place, which is made once for all uses."""

    def __init__(self, uses: list[graph.Node], policy: QuantizationPolicy):
        self.uses = iter(uses)
        self.policy = policy
        self.made: dict[keras.Operation, Callable] = {}
        self.unique = graph.UniqueNames(use.operation.name for use in uses)
        operations = [use.operation for use in uses]
        self.shared = {o for o in operations if operations.count(o) > 1}
        # Such a normalization stays if it can behind each of its uses.
        self.apart = {
            use.operation
            for use in uses
            if type(use.operation) is layers.BatchNormalization
            and not any(map(self.takes, use.producers))
        }

    def __call__(self, layer, *args, **kwargs):
        use = next(self.uses)
        if use.operation in self.policy:
            return layer(*args, **kwargs)
        if use.operation not in self.made:
            rules.check_inputs(use)
            self.made[use.operation] = self.make(layer, use)
        made = self.made[use.operation]
        if isinstance(made, keras.Operation):
            return made(*args, **kwargs)
        options = {k: v for k, v in kwargs.items() if v is not None}
        options.pop("training", None)
        if any(key.endswith("mask") for key in options):
            raise rules.refusal(use.operation, "call it without a mask")
        outputs = made(*args, **options)
        graph.name_operations(use.operation.name, (args, kwargs), outputs)
        return outputs

    def make(self, layer, use):
        """Return what to call in a layer's place, perhaps itself."""
        operation = use.operation
        part = functools.partial(self.part, operation)
        replace = _REPLACED.get(type(operation))
        if replace:
            return replace(operation, part)
        if type(operation) is layers.BatchNormalization:
            return self.normalization(use, part)
        if self.folds(use):
            return primitives.folded(layer, use.successor.operation)
        if self.sheds_bias(use):
            return primitives.without_bias(layer)
        traits = graph.traits_of(operation)
        if traits.kernel_quantizer and hasattr(operation, "activation"):
            return primitives.apart(layer, part)
        if traits.activation is not None:
            return primitives.activation(traits.activation, part, None)
        return layer

    def part(self, operation, kind, suffix, *args, **options):
        """Make a layer that is a part of another."""
        name = operation.name
        if suffix is not None:
            name = self.unique(f"{name}_{suffix}")
        policy = getattr(operation, "dtype_policy", None)
        common = {"name": name, **({"dtype": policy} if policy else {})}
        if isinstance(kind, type):
            return kind(*args, **options, **common)
        (config,) = args  # of `from_config`
        return kind({**config, **common})

    def normalization(self, use, part):
        norm = use.operation
        if not _is_of_last_axis(norm, use.inputs[0]):
            raise rules.refusal(norm, "normalize the last axis")
        if norm not in self.apart:
            (producer,) = use.producers[:1]
            if self.sheds_bias(producer):
                return primitives.with_bias_of(norm, producer.operation)
            return norm
        if any(map(self.folds, use.producers)):
            return lambda inputs: inputs
        return primitives.normalization(norm, part)

    def takes(self, use):
        """Say whether LiteRT takes the normalization behind a use into it."""
        return (
            rules.fuses_forward(use)
            and not self.policy.rounds(use.operation)
            and not primitives.is_pruned(use.successor.operation)
        )

    def sheds_bias(self, use):
        """Say whether the normalization behind a use takes its bias over.

        One of the two biases is enough, and one can be rounded as a whole.
        """
        norm = use.successor and use.successor.operation
        return (
            type(norm) is layers.BatchNormalization
            and self.takes(use)
            and getattr(use.operation, "use_bias", False)
            and norm not in self.policy
            and use.operation not in self.policy
            and not {norm, use.operation} & self.shared
        )

    def folds(self, use):
        """Say whether the normalization behind a use is folded here."""
        norm = use.successor and use.successor.operation
        return (
            type(norm) is layers.BatchNormalization
            and _is_of_last_axis(norm, use.outputs[0])
            and norm not in self.policy
            and use.operation not in self.policy
            and (
                graph.traits_of(use.operation).batch_norm == "lowering"
                or (rules.fuses_forward(use) and primitives.is_pruned(norm))
            )
            and rules.is_linear(use.operation)
            and not {norm, use.operation} & self.shared
        )


def _is_of_last_axis(norm, inputs):
    return norm.axis in (-1, len(inputs.shape) - 1)
