"""Models of a class of one's own: kept, or refused by name."""

import keras
import numpy as np
import pytest

import kbp

STEPS = []


class Counting(keras.Model):
    def train_step(self, data):
        STEPS.append(self.name)
        return super().train_step(data)


class Scaled(keras.Model):
    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor = factor

    def compute_loss(self, *args, **options):
        return self.factor * super().compute_loss(*args, **options)


class Weighted(keras.Model):
    def __init__(self, *tensors, share=1.0, **options):
        super().__init__(*tensors, **options)
        self.share = share

    def compute_loss(self, *args, **options):
        return self.share * super().compute_loss(*args, **options)


class Halved(keras.Model):
    def call(self, inputs, training=None, mask=None):
        return super().call(inputs) / 2


class Chained(keras.Sequential):
    def train_step(self, data):
        return super().train_step(data)


class Named(keras.Sequential):
    """Adds nothing that could be lost."""


X = np.random.default_rng(0).random((8, 4), "float32")
Y = X.sum(axis=1, keepdims=True)


def tensors():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(8, activation="relu")(inputs)
    x = keras.layers.Dense(8, activation="relu")(x)
    return inputs, keras.layers.Dense(1)(x)


def stack():
    return [keras.Input((4,)), keras.layers.Dense(1)]


ROAD = {
    "mask": kbp.sparsity.apply_dtm,
    "mask and strip": lambda m: kbp.sparsity.strip(kbp.sparsity.apply_dtm(m)),
    "gate and shrink": lambda m: kbp.sparsity.shrink(
        kbp.sparsity.apply_dtm(m, granularity="channel")
    ),
    "quantize": lambda m: kbp.quantization.quantize_aware(m, X),
    "mask and quantize": lambda m: kbp.quantization.quantize_aware(
        kbp.sparsity.apply_dtm(m), X
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("road", ROAD)
def test_a_train_step_of_ones_own_goes_along(road):
    model = ROAD[road](Counting(*tensors(), name="mine"))
    assert type(model) is Counting
    STEPS.clear()
    model.compile(kbp.HybridOptimizer(1e-3), "mse", run_eagerly=True)
    model.fit(X, Y, batch_size=4, verbose=0)
    assert STEPS == ["mine"] * 2


@pytest.mark.parametrize("road", ROAD)
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda inputs, outputs: Scaled(2.0, inputs=inputs, outputs=outputs),
            "mine is a Scaled, whose own compute_loss would be lost",
        ),
        (Halved, "mine is a Halved, whose own call would be lost"),
        (
            lambda *_: Chained(stack()),
            "mine is a Chained, whose own train_step would be lost",
        ),
    ],
    ids=["constructor", "call", "sequential"],
)
def test_what_would_be_lost_is_refused(road, model, message):
    model = model(*tensors())
    model.name = "mine"
    with pytest.raises(ValueError, match=message):
        ROAD[road](model)


@pytest.mark.long
def test_numbers_that_a_class_keeps_go_along():
    model = Weighted(*tensors())
    model.share = 0.3
    model.compile("adam", "mse")
    for road in ROAD.values():
        assert road(model).share == 0.3


def test_a_class_that_adds_nothing_is_taken():
    model = kbp.quantization.quantize_aware(Named(stack()), X)
    assert kbp.graph.own_methods(model) == []
    assert model.output_shape == (None, 1)
