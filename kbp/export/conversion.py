"""TensorFlow's converter to .tflite, and what it says in our words."""

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kbp._compat import computed_by
from kbp._utils.process.stderr import suppress_records
from kbp.export.audit import layer_in

Tensor = Any  # TensorFlow's


def convert(
    model: keras.Model,
    specs: Sequence[tf.TensorSpec],
    *,
    dtype: str,
    input_dtype: str,
) -> bytes:
    """Return the content of a .tflite file.

    Args:
        model: functional, in float32.
        specs: of its inputs, in their order, of a fixed size each.
        dtype: of the weights, see `to_tflite`.
        input_dtype: of float inputs and outputs.

    Raises:
        ValueError: the converter refuses the model; the message names the
            layer as far as the converter tells.
    """

    @tf.function(autograph=False)
    def inference(*inputs: Any) -> Any:
        structure = keras.tree.pack_sequence_as(model.input, list(inputs))
        return model(structure, training=False)

    with computed_by(argmax=_place(tf.argmax), argmin=_place(tf.argmin)):
        function = inference.get_concrete_function(*specs)
    with suppress_records("absl", "providing the trackable_obj"):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    # No representative data set is asked for: the ranges are in the graph.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if dtype != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if dtype == "float16":
        converter.target_spec.supported_types = [tf.float16]
    converter.inference_input_type = tf.as_dtype(input_dtype)
    converter.inference_output_type = tf.as_dtype(input_dtype)
    with warnings.catch_warnings():
        # The converter misses statistics of the inputs; they are in the graph.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        try:
            return converter.convert()
        except Exception as error:
            # Its class is no public name of TensorFlow's.
            if type(error).__name__ != "ConverterError":
                raise
            raise _refusal(model, function, str(error)) from error


def _place(find: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return Keras's argmax or argmin by one operation of TensorFlow's.

    Keras's own takes -0.0 for less than 0.0, by operations on bits that no
    .tflite file has.
    """

    def place(
        x: Tensor, axis: int | None = None, keepdims: bool = False
    ) -> Tensor:
        x = tf.convert_to_tensor(x)
        flat = tf.reshape(x, [-1]) if axis is None else x
        found = find(flat, axis=axis or 0, output_type="int32")
        if not keepdims:
            return found
        if axis is None:
            return tf.reshape(found, [1] * len(x.shape))
        return tf.expand_dims(found, axis)

    return place


def _refusal(model: keras.Model, function: Any, said: str) -> ValueError:
    """Return the error that names the layer whose operation has no kernel."""
    reasons = re.findall(r"error: (.*)", said) or [said.splitlines()[0]]
    kind = re.search(r"'tf\.(\w+)' op", reasons[0])
    names = {
        layer_in(operation.name)
        for operation in function.graph.get_operations()
        if kind and operation.type == kind[1]
    }
    layers = f" at layer {', '.join(sorted(names))}" if names else ""
    return ValueError(
        f"TensorFlow's converter refuses model {model.name}{layers}: "
        f"{reasons[0]}, so LiteRT cannot run it. Compute this after the file "
        "has run, or make it of other operations of keras.ops."
    )
