"""A ReLU is computed where LiteRT computes it, and rounded as often."""

import itertools

import keras
import numpy as np
import pytest

from kbp import export
from kbp.quantization import quantize_aware

layers = keras.layers


def einsum(x):
    x = layers.Reshape((64, 4))(x)
    x = layers.EinsumDense("abc,cd->abd", (64, 6), bias_axes="d")(x)
    return layers.Reshape((8, 8, 6))(x)


KERNELS = {
    "dense": lambda x: layers.Dense(6)(x),
    "einsum": einsum,
    "conv": lambda x: layers.Conv2D(6, 3, padding="same")(x),
    "depthwise": lambda x: layers.DepthwiseConv2D(3, padding="same")(x),
    "transposed": lambda x: layers.Conv2DTranspose(6, 3, padding="same")(x),
}
MOVERS = {
    "nothing": lambda x: x,
    "permute": lambda x: layers.Permute((2, 1, 3))(x),
    "reshape": lambda x: layers.Reshape((4, 16, -1))(x),
    "flatten": lambda x: layers.Flatten()(x),
    "pad": lambda x: layers.ZeroPadding2D(1)(x),
    "crop": lambda x: layers.Cropping2D(1)(x),
    "enlarge": lambda x: layers.UpSampling2D()(x),
    "pool": lambda x: layers.MaxPooling2D()(x),
    "drop": lambda x: layers.Dropout(0.3)(x),
    "several": lambda x: layers.Permute((2, 1, 3))(
        layers.Dropout(0.3)(layers.Reshape((4, 16, -1))(x))
    ),
}
FAST = {("dense", "permute"), ("einsum", "nothing"), ("conv", "several")}
PAIRS = [
    pytest.param(*pair, marks=[pytest.mark.slow] * (pair not in FAST))
    for pair in itertools.product(KERNELS, MOVERS)
]


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(64, 8, 8, 4)).astype("float32")


def moved(kernel, mover):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 4))
    return inputs, MOVERS[mover](KERNELS[kernel](inputs))


def check(model, x, path):
    quantized = quantize_aware(model, x)
    assert not export.to_tflite(quantized, path).float_operations
    found = export.verify(quantized, path, x)
    assert found.exact > 0.999, found
    assert found.maximum <= 1, found
    return quantized


@pytest.mark.long
@pytest.mark.parametrize(("kernel", "mover"), PAIRS)
@pytest.mark.parametrize("limit", [None, 6.0])
def test_relu_behind_what_moves_values(kernel, mover, limit, x, tmp_path):
    inputs, y = moved(kernel, mover)
    outputs = layers.ReLU(limit)(y)
    model = keras.Model(inputs, outputs)
    check(model, x, tmp_path / "model.tflite")


@pytest.mark.long
@pytest.mark.parametrize(("kernel", "mover"), PAIRS)
@pytest.mark.parametrize("end", [layers.Add, layers.Maximum])
def test_relu_beside_another_reader(kernel, mover, end, x, tmp_path):
    inputs, y = moved(kernel, mover)
    z = layers.ReLU()(y)
    if len(y.shape) == 4:
        z = layers.Conv2D(y.shape[-1], 1)(z)
    model = keras.Model(inputs, end()([y, z]))
    check(model, x, tmp_path / "model.tflite")


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(
            lambda: layers.Cropping2D(2), id="it has less to do there"
        ),
        pytest.param(lambda: layers.GaussianNoise(0.9), id="noise is clipped"),
    ],
)
def test_a_relu_that_belongs_behind_stays_there(layer, x):
    inputs = keras.Input((8, 8, 4))
    before = layer()
    y = before(layers.Conv2D(6, 3)(inputs))
    model = keras.Model(inputs, layers.ReLU(name="relu")(y))
    names = [layer.name for layer in quantize_aware(model, x).layers]
    assert names.index("relu") > names.index(before.name)
