"""The same weights and ranges through TFMOT's own model and through kbp's."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from contracts import as_numpy

from kbp import export
from kbp.quantization import FakeQuantize, QuantizeConfig, quantize_aware, tfmot
from kbp.quantization.placement import placement, rules


def conv_bn_relu(k, x):
    conv = k.layers.Conv2D(4, 3, padding="same", name="conv", use_bias=False)
    x = k.layers.BatchNormalization(name="norm")(conv(x))
    x = k.layers.Flatten(name="flatten")(k.layers.ReLU(name="relu")(x))
    return k.layers.Dense(3, name="dense")(x)


def conv_activation(k, x):
    x = k.layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    x = k.layers.AveragePooling2D(2, name="average")(x)
    x = k.layers.Flatten(name="flatten")(x)
    x = k.layers.Dense(8, activation="relu", name="hidden")(x)
    return k.layers.Dense(3, name="dense")(x)


def residual(k, x):
    left = k.layers.Conv2D(4, 3, padding="same", name="left")(x)
    right = k.layers.Conv2D(4, 1, name="right")(x)
    x = k.layers.Add(name="add")([left, right])
    x = k.layers.ReLU(name="relu")(x)
    x = k.layers.MaxPooling2D(2, name="pool")(x)
    x = k.layers.GlobalAveragePooling2D(name="mean")(x)
    return k.layers.Dense(3, name="dense")(x)


def joined(k, x):
    left = k.layers.Conv2D(4, 3, padding="same", name="left")(x)
    right = k.layers.Conv2D(2, 1, activation="relu", name="right")(x)
    x = k.layers.Concatenate(name="join")([left, right])
    x = k.layers.UpSampling2D(2, name="up")(x)
    return k.layers.Conv2D(3, 1, name="out")(x)


def transposed(k, x):
    x = k.layers.Conv2DTranspose(4, 3, strides=2, name="transposed")(x)
    x = k.layers.ZeroPadding2D(1, name="pad")(x)
    return k.layers.Conv2D(3, 3, name="out")(x)


def depthwise(k, x):
    x = k.layers.DepthwiseConv2D(3, name="depthwise", use_bias=False)(x)
    x = k.layers.BatchNormalization(name="norm")(x)
    x = k.layers.ReLU(6.0, name="relu")(x)
    return k.layers.Conv2D(3, 1, name="out")(x)


class OneRange(QuantizeConfig):
    """TFMOT's rule for depthwise kernels: kbp's has a range by channel."""

    def get_weights_and_quantizers(self, layer):
        return [(layer.kernel, FakeQuantize("kernel"))]

    def get_output_quantizers(self, layer):
        return []  # the normalization behind it is folded


SHAPE = (8, 8, 2)
NETWORKS = {
    body.__name__: body
    for body in (conv_bn_relu, conv_activation, residual, joined, transposed)
}


def twins(body):
    """Return a Keras model, and TFMOT's of the same network and weights."""
    package, tf_keras = tfmot.modules()
    inputs, tf_inputs = keras.Input(SHAPE), tf_keras.Input(SHAPE)
    model = keras.Model(inputs, body(keras, inputs))
    twin = tf_keras.Model(tf_inputs, body(tf_keras, tf_inputs))
    twin.set_weights(model.get_weights())
    quantization = package.quantization.keras
    annotated = quantization.quantize_annotate_model(twin)
    return model, quantization.quantize_apply(annotated)


def integers(content):
    """Return the kernels of a .tflite file, sorted by their sizes."""
    interpreter = Interpreter(model_content=content)
    found = []
    for details in interpreter.get_tensor_details():
        if details["dtype"] == np.int8 and len(details["shape"]) > 1:
            try:
                values = interpreter.tensor(details["index"])()
            except ValueError:
                continue  # not a constant
            found.append(np.array(values, np.int32))
    return sorted(found, key=lambda x: (x.shape, x.ravel().tolist()))


def assert_equal(found, expected):
    """Hold all results to be equal, but for sums that fall on a tie."""
    gaps = np.abs(as_numpy(found) - expected.numpy())
    assert np.mean(gaps <= 1e-5) >= 0.995
    assert gaps.max() < 0.06  # a step of the ranges here


def convert(model):
    """Convert TFMOT's model as its guide says, inputs and outputs in int8."""
    function = tf.function(lambda x: model(x, training=False))
    spec = tf.TensorSpec((1, *SHAPE), tf.float32)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function(spec)], model
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return converter.convert()


@pytest.fixture(autouse=True)
def as_tfmot(monkeypatch):
    """Undo what kbp does otherwise on purpose.

    Outputs have moving averages, as all else has, and halves go up.
    """
    monkeypatch.setattr(rules, "is_answer", lambda node: False)
    monkeypatch.setattr(placement, "ARITHMETICS", {})


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
def test_equals_tfmots_own_model_on_layers_that_it_knows(name, tmp_path):
    model, reference = twins(NETWORKS[name])
    ours = quantize_aware(model, round_biases=False)
    # Ranges at TFMOT's start, [-6, 6]
    x = np.random.default_rng(0).normal(size=(8, *SHAPE)).astype("float32")
    for _ in range(3):
        assert_equal(ours(x, training=True), reference(x, training=True))
    assert_equal(ours(x), reference(x, training=False))
    # The files hold the same integers.
    path = tmp_path / "q.tflite"
    export.to_tflite(ours, path)
    kernels = integers(path.read_bytes())
    references = integers(convert(reference))
    assert kernels
    for kernel, other in zip(kernels, references, strict=True):
        np.testing.assert_array_equal(kernel, other)


def test_depthwise_kernels_equal_tfmots_with_its_rule():
    model, reference = twins(depthwise)
    ours = quantize_aware(
        model, configs={"depthwise": OneRange()}, round_biases=False
    )
    x = np.random.default_rng(0).normal(size=(8, *SHAPE)).astype("float32")
    for training in (True, True, False):
        expected = reference(x, training=training)
        assert_equal(ours(x, training=training), expected)
