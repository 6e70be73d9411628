"""Export to .tflite, for LiteRT."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from kbp import graph
from kbp.export.audit import Audit, audit
from kbp.export.files import write_atomically
from kbp.quantization import fake_quantizers

DTYPES = ("float32", "int8")


def to_tflite(
    model: keras.Model,
    path: str | Path,
    *,
    dtype: str | None = None,
    batch_size: int = 1,
    allow_float: Sequence[str] = (),
) -> Audit:
    """Write a model as a .tflite file.

    Args:
        model: a functional or built Sequential model; of `quantize_aware` for
            `"int8"`. One of mixed precision is exported in float32 or int8.
        path: file to write; replaced whole if it exists.
        dtype: `"int8"`: integer weights, operations, inputs and outputs;
            `"float32"`: as the model is. By default `"int8"` if the model is
            quantization-aware.
        batch_size: examples in one call of the interpreter.
        allow_float: names of operations that may stay float in an int8 file.

    Returns:
        The audit of the file.

    Raises:
        ValueError: `dtype` is unknown or does not fit the model, its input
            size is not fixed, or an operation would be float by accident; no
            file is written then.

    Example:
    >>> import tempfile, kbp
    >>> model = kbp.models.PyramidBPNet((8, 8, 1), 10, width=8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = kbp.export.to_tflite(model, f"{folder}/model.tflite")
    >>> report.operations[0].name
    'CONV_2D'
    """
    model = graph.flatten(model)
    quantized = any(True for _ in fake_quantizers(model))
    dtype = dtype or ("int8" if quantized else "float32")
    _check(model, dtype, quantized)
    content = _convert(graph.in_float32(model), dtype, batch_size)
    allowed = allow_float if dtype == "int8" else None
    result = audit(content, allow_float=allowed)
    write_atomically(path, content)
    return result


def _check(model, dtype, quantized):
    if dtype not in DTYPES:
        raise ValueError(
            f"Argument `dtype` must be one of {DTYPES}. Received: {dtype!r}"
        )
    if dtype == "int8" and not quantized:
        raise ValueError(
            f"Model {model.name} is not quantization-aware. Use "
            "kbp.quantization.quantize_aware first."
        )
    if dtype == "float32" and quantized:
        raise ValueError(
            f"Model {model.name} is quantization-aware: export it as int8, or "
            "the model it was made from as float32."
        )
    for x in model.inputs:
        if None in x.shape[1:]:
            raise ValueError(
                f"Input {x.name} of model {model.name} has no fixed size. "
                f"Received: {tuple(x.shape)}"
            )


def _convert(model, dtype, batch_size):
    specs = [
        tf.TensorSpec((batch_size, *x.shape[1:]), x.dtype, name=x.name)
        for x in model.inputs
    ]

    @tf.function(autograph=False)
    def inference(*inputs):
        structure = keras.tree.pack_sequence_as(model.input, list(inputs))
        return model(structure, training=False)

    function = inference.get_concrete_function(*specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    # No representative data set is asked for: the ranges are in the graph.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if dtype == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        # The converter misses statistics of the inputs; they are in the graph.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        return converter.convert()
