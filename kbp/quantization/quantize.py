"""Quantization-aware training for functional Keras 3 models."""

import collections
from collections.abc import Iterable

import keras

from kbp import graph, sparsity
from kbp.layers import TransformedLayer
from kbp.quantization import rules
from kbp.quantization.calibrate import calibrate
from kbp.quantization.fake_quantize import FakeQuantize


def quantize_aware(
    model: keras.Model,
    calibration_data: Iterable | None = None,
    *,
    calibration_batches: int = 8,
) -> keras.Model:
    """Return a model that trains as if it ran in eight bits.

    Kernels and activations pass through `FakeQuantize`, placed where LiteRT
    rounds: see `kbp.quantization.rules`. The result is a plain functional
    Keras 3 model, to be compiled, fitted and saved like any other. DTM masks
    are fixed first, so what is pruned stays pruned.

    Args:
        model: a functional or built Sequential model, trained; left as it is.
        calibration_data: batches of inputs, or of tuples that begin with the
            inputs. Without it, the ranges are TFMOT's: of inputs empty until
            the first training step, of activations [-6, 6], which takes about
            a thousand steps of training to forget.
        calibration_batches: batches to take from `calibration_data`.

    Returns:
        A new, uncompiled functional model with a copy of the weights.

    Raises:
        ValueError: a layer is not covered (the message names it and says what
            to do), the model's graph is not known, or the calibration data
            are empty, of the wrong shape or not finite.

    Example:
    >>> import numpy as np, kbp
    >>> from kbp.quantization import quantize_aware
    >>> model = kbp.models.PyramidBPNet((8, 8, 1), 10, width=8)
    >>> images = np.random.default_rng(0).random((4, 8, 8, 1), "float32")
    >>> quantized = quantize_aware(model, [images])
    >>> quantized.output_shape
    (None, 10)
    """
    if any(True for _ in sparsity.masked_layers(model)):
        model = sparsity.fix_masks(model)
    flat = graph.flatten(model)
    uses = graph.calls(flat)
    for use in uses:
        rules.check(use)
    quantized = graph.replace_layers(
        flat, _with_fake_quantized_kernel, call=_Placement(uses)
    )
    if calibration_data is not None:
        calibrate(quantized, calibration_data, batches=calibration_batches)
    return quantized


def _with_fake_quantized_kernel(layer):
    """Copy a layer; its kernel, if it has one, is rounded last."""
    kind = rules.KERNELS.get(type(graph.unwrapped(layer)))
    if kind is None:
        return graph.copy(layer)
    inner = graph.copy(graph.unwrapped(layer), name=layer.name)
    if rules.activation_of(inner) in rules.FIXED_RANGES:
        inner.activation = keras.activations.linear  # see `_Placement`
    kept = [graph.copy(t) for t in graph.transforms(layer)]
    return TransformedLayer(inner, [*kept, FakeQuantize(kind)])


class _Placement:
    """Calls each layer of the new model and rounds its result, by the rules.

    Attributes:
        rounders: from a tensor's id to the quantizer that rounded it.
    """

    def __init__(self, uses: list[graph.Call]):
        self.uses = iter(uses)  # in the order in which layers are called
        self.names = collections.Counter()
        self.rounded_inputs = {}
        self.rounders: dict[int, FakeQuantize] = {}

    def __call__(self, layer, *args, **kwargs):
        use = next(self.uses)
        args, kwargs = keras.tree.map_structure(
            self.round_input, (args, kwargs)
        )
        operation = use.operation
        if rules.is_adding(operation):
            return self.add(use, layer, args, kwargs)
        outputs = layer(*args, **kwargs)
        activation = rules.activation_of(operation)
        if rules.has_fixed_range(operation):
            return self.round_fixed(use, outputs, activation)
        if activation in rules.FIXED_RANGES:
            # A kernel's result is rounded before such an activation too.
            outputs = self.round(use, outputs)
            outputs = keras.layers.Activation(
                activation, name=self.name(use, activation)
            )(outputs)
            return self.round_fixed(use, outputs, activation)
        if rules.is_moving(operation):
            return self.keep_rounder(args, kwargs, outputs)
        if rules.is_averaging(operation):
            return self.round_as_input(args, kwargs, outputs)
        return self.round_unless_fused(use, outputs)

    def round_input(self, x):
        """Round a tensor if it is an input of the model, once for all uses."""
        if not isinstance(x, keras.KerasTensor):
            return x
        if isinstance(x._keras_history.operation, keras.layers.InputLayer):
            if id(x) not in self.rounded_inputs:
                layer = FakeQuantize("input", name=f"{x.name}_quant")
                self.rounded_inputs[id(x)] = self.apply(layer, x)
            return self.rounded_inputs[id(x)]
        return x

    def round_unless_fused(self, use, outputs):
        if rules.fuses_forward(use) or rules.is_rounded_by_concatenate(use):
            return outputs
        return self.round(use, outputs)

    def round(self, use, outputs):
        return self.apply(FakeQuantize(name=self.name(use, "quant")), outputs)

    def round_fixed(self, use, outputs, activation):
        low, high = rules.FIXED_RANGES[activation]
        name = self.name(use, f"{activation}_quant")
        layer = FakeQuantize("fixed", minimum=low, maximum=high, name=name)
        return self.apply(layer, outputs)

    def keep_rounder(self, args, kwargs, outputs):
        """Remember of moved values what rounded them, if anything did yet."""
        (inputs,) = _tensors(args, kwargs)
        if id(inputs) in self.rounders:
            self.rounders[id(outputs)] = self.rounders[id(inputs)]
        return outputs

    def round_as_input(self, args, kwargs, outputs):
        """Round to the range of the input, which is not to follow."""
        (inputs,) = _tensors(args, kwargs)
        rounder = self.rounders[id(inputs)]
        outputs = rounder(outputs, follow=False)
        self.rounders[id(outputs)] = rounder
        return outputs

    def apply(self, layer, inputs):
        outputs = layer(inputs)
        self.rounders[id(outputs)] = layer
        return outputs

    def add(self, use, layer, args, kwargs):
        """Add tensors two by two, as LiteRT does, and round each sum."""
        total, *terms = _tensors(args, kwargs)
        if len(terms) < 2:
            return self.round_unless_fused(use, layer(*args, **kwargs))
        for index, term in enumerate(terms):
            if index:
                total = self.round(use, total)
            total = keras.layers.Add(name=self.name(use, "sum"))([total, term])
        return self.round_unless_fused(use, total)

    def name(self, use, suffix):
        name = f"{use.operation.name}_{suffix}"
        self.names[name] += 1
        count = self.names[name]
        return name if count == 1 else f"{name}_{count}"


def _tensors(*structures):
    return [
        x
        for x in keras.tree.flatten(structures)
        if isinstance(x, keras.KerasTensor)
    ]
