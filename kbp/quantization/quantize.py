"""Quantization-aware training for functional Keras 3 models."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from kbp import graph, sparsity
from kbp._compat import deep_graphs
from kbp._utils.arguments import check_integer
from kbp.quantization.calibrate import fake_quantizers, observe, take
from kbp.quantization.config import QuantizeConfig
from kbp.quantization.equalize import equalized
from kbp.quantization.fake_quantize import FakeQuantize
from kbp.quantization.lowering.lower import lower
from kbp.quantization.placement import rules
from kbp.quantization.placement.placement import Placement
from kbp.quantization.policy import QuantizationPolicy

_SCOPE = re.compile(r"[A-Za-z0-9_.\-]+")  # what TensorFlow's names are of

# What an attention computes besides its Dense layers. `skip=ATTENTION_OPS`
# leaves it in float, which LiteRT runs faster than in integers.
ATTENTION_OPS = (keras.ops.matmul, keras.layers.Softmax)


@deep_graphs()
def quantize_aware(
    model: keras.Model,
    calibration_data: Any = None,
    *,
    calibration_examples: int = 256,
    skip: Sequence[str | type | Callable[..., Any]] = (),
    configs: Mapping[str | type, QuantizeConfig] | None = None,
    int16: Sequence[str | type] = (),
    round_biases: bool = True,
    equalize: bool = True,
) -> keras.Model:
    """Return a model that trains as if it ran in eight bits.

    Layers that LiteRT computes as others are replaced by those, see
    `kbp.quantization.lowering.lower`. Then kernels and activations pass through
    `FakeQuantize`, placed where LiteRT rounds: see
    `kbp.quantization.placement.rules`. The result is a plain functional Keras 3
    model, to be compiled, fitted and saved like any other. DTM masks are fixed
    first, so what is pruned stays pruned. Recurrent layers train on without the
    `dropout` and `recurrent_dropout` of their cells.

    Args:
        model: a functional or built Sequential model, trained; left as it is.
        calibration_data: examples in any form that `fit` or `predict` takes:
            an array; `(inputs, targets)`; for several inputs a list, or a
            dictionary by their names; a `tf.data.Dataset`, a
            `keras.utils.PyDataset` or a generator, of batches or of one
            example each. Without it, the ranges are TFMOT's: of inputs empty
            until the first training step, of activations [-6, 6], which takes
            about a thousand steps of training to forget.
        calibration_examples: how many examples to take, of arrays spread
            evenly, else the first ones. The ranges are those of all of them,
            in whatever batches they come.
        skip: names or classes of layers, or functions of `keras.ops`, to
            leave in float; what goes in and what comes out is rounded. With
            `ATTENTION_OPS`, an attention's products stay in float, which LiteRT
            computes faster than in integers. `WindowStatistics` and
            `WindowNormalization` always stay in float, with what they take
            from outside and give to it.
        configs: how layers of one's own are rounded, by their name or class.
        int16: names or classes of Dense layers to give inputs and results of
            16 bits, the kernel stays in eight: for values with heavy tails,
            where a step of eight bits is wide. What is before and behind such
            a layer is in float. See docs/ranges.md for what it costs.
        round_biases: round biases to the steps in which the file holds them;
            TFMOT does not.
        equalize: with calibration data, give the channels between two layers
            alike ranges first, which changes no result of the model in float:
            see `kbp.quantization.equalize`. TFMOT does not.

    Returns:
        A new, uncompiled functional model with a copy of the weights.

    Raises:
        ValueError: a layer is not covered (the message names it and says what
            to do), two layers share a weight, one is not of float32, a name is
            no layer's, TensorFlow
            does not take an input's name, the model's graph is not known, or
            the calibration data are empty, of the wrong shape or not finite.

    Example:
    >>> import numpy as np, kbp
    >>> from kbp.quantization import quantize_aware
    >>> model = kbp.models.PyramidBPNet((8, 8, 1), 10, width=8)
    >>> images = np.random.default_rng(0).random((4, 8, 8, 1), "float32")
    >>> quantized = quantize_aware(model, images)
    >>> quantized.output_shape
    (None, 10)

    Reference:
        Jacob et al., Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference, 2018.
    """
    check_integer(calibration_examples=calibration_examples)
    graph.check_untied(model)
    graph.check_float32(model)
    if any(True for _ in fake_quantizers(model)):
        raise ValueError(f"Model {model.name} is quantization-aware already.")
    if any(True for _ in sparsity.masked_layers(model)):
        model = sparsity.fix_masks(model)
    names = graph.output_names(model)
    model = graph.flatten(model)
    graph.check_inputs(model)
    for name in (x.name for x in model.inputs):
        if not _SCOPE.fullmatch(name):
            raise ValueError(
                f"Input {name!r} of model {model.name} cannot be quantized and "
                "exported: name it by letters, digits and _"
            )
    policy = QuantizationPolicy(
        model, skip, {} if configs is None else configs, int16
    )
    lowered = lower(model, policy)
    for node in graph.nodes(lowered):
        if node.operation not in policy:
            rules.check(node)
    batches: list[Any] = []
    if calibration_data is not None:
        batches = take(model, calibration_data, calibration_examples)
    if equalize:
        lowered = equalized(lowered, policy, batches)
    quantized = graph.replace_layers(
        lowered,
        policy.with_rounded_weights,
        call=Placement(graph.nodes(lowered), policy, round_biases),
    )
    _name_outputs(quantized, names)
    if batches:
        observe(quantized, batches)
    return quantized


def _name_outputs(model: keras.Model, names: Sequence[str]) -> None:
    """Let the layers that round a model's outputs know their names."""
    rounders = [x._keras_history.operation for x in model.outputs]
    for rounder, name in zip(rounders, names, strict=True):
        if isinstance(rounder, FakeQuantize):
            several = rounders.count(rounder) > 1  # which are numbered then
            rounder.output_name = (
                rounder.name.removesuffix("_quant") if several else name
            )


def quantize(
    model: keras.Model, calibration_data: Any, **options: Any
) -> keras.Model:
    """Return a model rounded to eight bits without training, from a few data.

    This is post-training quantization: `quantize_aware`, whose ranges come from
    the calibration data, for `kbp.export.to_tflite` at once. Where it costs too
    much accuracy, compile the same model and `fit` it for an epoch or two.

    Args:
        model: a functional or built Sequential model, trained; left as it is.
        calibration_data: a few hundred examples like those that the model is
            to see, in any form that `fit` takes, see `quantize_aware`.
        **options: `skip` and the other arguments of `quantize_aware`.

    Returns:
        A new, uncompiled functional model with a copy of the weights.

    Raises:
        ValueError: as of `quantize_aware`, or there are no calibration data.

    Example:
    >>> import numpy as np, kbp, tempfile
    >>> model = kbp.models.PyramidBPNet((8, 8, 1), 10, width=8)
    >>> images = np.random.default_rng(0).random((64, 8, 8, 1), "float32")
    >>> quantized = kbp.quantization.quantize(model, images)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     audit = kbp.export.to_tflite(quantized, f"{folder}/model.tflite")
    >>> audit.float_operations
    ()

    Reference:
        Nagel et al., A White Paper on Neural Network Quantization, 2021.
    """
    if calibration_data is None:
        raise ValueError(
            "Argument `calibration_data` must be examples, which say what "
            "ranges there are. Received: None"
        )
    return quantize_aware(model, calibration_data, **options)
