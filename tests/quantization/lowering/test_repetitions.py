"""What a model computes twice, LiteRT's converter computes once."""

import collections

import keras
import numpy as np
import pytest

from kbp import export, graph
from kbp.quantization import quantize_aware
from kbp.quantization.lowering.lower import lower
from kbp.quantization.policy import QuantizationPolicy

layers, ops = keras.layers, keras.ops
PLACES = {"axis": (1, 2), "keepdims": True}


def both(kind, *args, **options):
    """Two layers of one kind."""
    return lambda x, y=None: [kind(*args, **options)(x) for _ in range(2)]


def shared(kind, *args, **options):
    """One layer that is called twice."""

    def call(x, y):
        layer = kind(*args, **options)
        return layer(x), layer(x)

    return call


# Of two tensors `(8, 8, 8)`, the same thing twice.
PAIRS = {
    "Activation": both(layers.Activation, "silu"),
    "Add": lambda x, y: (layers.Add()([x, y]), layers.Add()([y, x])),
    "Average": lambda x, y: [layers.Average()([x, y]) for _ in range(2)],
    "AveragePooling2D": both(layers.AveragePooling2D, 2),
    "BatchNormalization": shared(layers.BatchNormalization),
    "Conv2D": shared(layers.Conv2D, 4, 3, activation="relu"),
    "Dropout, ReLU": lambda x, y: [
        layers.ReLU()(layers.Dropout(rate)(x)) for rate in (0.1, 0.2)
    ],
    "GlobalAveragePooling2D": both(
        layers.GlobalAveragePooling2D, keepdims=True
    ),
    "LeakyReLU": both(layers.LeakyReLU),
    "Multiply": lambda x, y: (layers.Multiply()([x, y]), y * x),
    "Permute, ReLU": lambda x, y: [
        layers.ReLU()(layers.Permute((2, 1, 3))(x)) for _ in range(2)
    ],
    "ReLU": lambda x, y: (layers.ReLU()(x), ops.relu(x)),
    "Rescaling": both(layers.Rescaling, 0.3, 0.1),
    "Subtract": lambda x, y: (layers.Subtract()([x, y]), x - y),
    "UpSampling2D": both(layers.UpSampling2D, interpolation="bilinear"),
    "mean": lambda x, y: (
        layers.GlobalAveragePooling2D(keepdims=True)(x),
        ops.mean(x, **PLACES),
    ),
    "product by a number": lambda x, y: (0.5 * x, x * 0.5),
    "where": lambda x, y: [ops.where(x > 0.25, x, 0.5) for _ in range(2)],
    "sum": lambda x, y: (
        ops.sum(x, **PLACES),
        64.0 * layers.GlobalAveragePooling2D(keepdims=True)(x),
    ),
}


def model_of(pair):
    """One of a pair alone, and one joined with what has a wider range."""
    inputs = keras.Input((8, 8, 3), name="x")
    x, y = (layers.Conv2D(8, 3, padding="same")(inputs) for _ in range(2))
    first, second = map(layers.Flatten(), pair(x, y))
    wide = 9.0 * layers.Dense(4)(layers.Flatten()(y))
    joined = layers.Concatenate()([second, wide])
    outputs = [layers.Dense(3)(first), layers.Dense(4)(joined)]
    return keras.Model(inputs, outputs)


def kinds(model):
    return collections.Counter(
        type(node.operation).__name__ for node in graph.nodes(model)
    )


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_the_same_is_computed_once(name):
    found = kinds(lower(model_of(PAIRS[name])))
    alone = kinds(lower(model_of(lambda x, y: [PAIRS[name](x, y)[0]] * 2)))
    for moved in ("Dropout", "Flatten"):  # of which each has its own
        del found[moved], alone[moved]
    assert found.total() == alone.total(), (found, alone)


@pytest.mark.long
@pytest.mark.parametrize("name", PAIRS)
def test_file_computes_what_is_the_same_as_trained(name, tmp_path):
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 8, 8, 3)).astype("float32")
    quantized = quantize_aware(model_of(PAIRS[name]), x)
    export.to_tflite(quantized, tmp_path / "model.tflite")
    found = export.verify(quantized, tmp_path / "model.tflite", x)
    assert found.maximum <= 1, found  # two ranges were up to 70 steps off


class Doubled(layers.Layer):
    """A person's own class, whose settings are not known."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, inputs):
        return self.factor * inputs


DIFFERENT = {
    "settings": lambda x: (layers.LeakyReLU(0.1)(x), layers.LeakyReLU(0.2)(x)),
    "numbers": lambda x: (x * 2.0, x * 3.0),
    "arrays": lambda x: (x * np.float32([1, 2]), x * np.float32([2, 1])),
    "tensors": lambda x: [
        ops.pad(x, ((0, 0), (0, 0), (0, 1998)))
        * ops.convert_to_tensor(np.arange(2000.0) == place)
        for place in (0, 1)
    ],
    "places": lambda x: (x[..., :1], x[..., 1:]),
    "functions": lambda x: [
        layers.Lambda(lambda y: y + 1.0)(layers.ReLU()(x)),
        layers.Lambda(lambda y: y + 2.0)(layers.ReLU()(x)),
    ],
    "weights": both(layers.Dense, 2),
    "random numbers": both(layers.Dropout, 0.5),
    "regularizers": both(layers.ReLU, activity_regularizer="l2"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_stays(name):
    inputs = keras.Input((4, 2))
    pair = DIFFERENT[name](layers.Dense(2)(inputs))
    model = keras.Model(inputs, [layers.Flatten()(x) for x in pair])
    lowered = lower(model)
    data = np.random.default_rng(0).normal(size=(3, 4, 2))
    for found, expected in zip(lowered(data), model(data), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    nodes = graph.nodes(lowered)
    assert len({id(x) for node in nodes[-2:] for x in node.inputs}) == 2


def test_what_the_user_decides_of_and_own_classes_stay():
    inputs = keras.Input((4,))
    pairs = [
        [layers.ReLU(name=name)(inputs) for name in ("one", "two")],
        [Doubled(factor)(inputs) for factor in (2.0, 3.0)],
    ]
    model = keras.Model(inputs, layers.Concatenate()([*pairs[0], *pairs[1]]))
    policy = QuantizationPolicy(model, ["two", Doubled], {})
    assert kinds(lower(model, policy)) == kinds(model)


@pytest.mark.parametrize("first", [True, False])
def test_outputs_keep_their_names(first):
    inputs = keras.Input((4,), name="x")
    x = layers.Dense(4)(inputs)
    one, two, three = (
        layers.Activation("tanh", name=name)(x)
        for name in ("one", "two", "three")
    )
    outputs = [layers.Dense(2, name="head")(one if first else two)]
    outputs += [two if first else one, three]
    model = keras.Model(inputs, outputs)
    quantized = quantize_aware(model)
    assert graph.output_names(quantized) == graph.output_names(model)
    # The two results that the model gives have each their own.
    assert kinds(quantized)["Activation"] == 2
