"""Several models, or optimizers, in one process and under one strategy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kbp
from kbp.training.distribution import create_strategy

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(64, 6)).astype("float32")
TARGETS = INPUTS[:, :2] ** 2


class Generator(keras.Model):
    """Two networks in one model, each with an optimizer of its own."""

    def __init__(self):
        super().__init__()
        self.first = keras.layers.Dense(4, activation="tanh")
        self.second = keras.layers.Dense(2)

    def build(self, shape):
        self.first.build(shape)
        self.second.build((None, 4))
        self.optimizers = [kbp.HybridOptimizer(1e-2) for _ in range(2)]
        parts = (self.first, self.second)
        for optimizer, part in zip(self.optimizers, parts, strict=True):
            optimizer.build(part.trainable_variables)

    def call(self, x):
        return self.second(self.first(x))

    def train_step(self, data):
        x, y = data
        parts = self.first.trainable_variables, self.second.trainable_variables
        with tf.GradientTape(persistent=True) as tape:
            loss = self.compute_loss(x, y, self(x))
            # The sum over the replicas is the global batch's mean.
            share = loss / tf.distribute.get_strategy().num_replicas_in_sync
        for optimizer, part in zip(self.optimizers, parts, strict=True):
            values = [v.value for v in part]
            optimizer.apply(tape.gradient(share, values), part)
        return {"loss": loss}


def trained(make, strategy, fits=1):
    """Return the weights of models that train in turns."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        models = make()
        for model in models:
            model.compile(kbp.HybridOptimizer(1e-2), "mse")
    batches = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(16)
    for _ in range(fits):
        for model in models:
            model.fit(batches, epochs=2, verbose=0, shuffle=False)
    return [w for model in models for w in model.get_weights()]


def compare(make, **options):
    one = trained(make, tf.distribute.get_strategy(), **options)
    two = trained(make, create_strategy("mirrored"), **options)
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_models_train_in_turns_on_two_devices_as_on_one():
    def make():
        return [
            keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)]),
            kbp.sparsity.apply_dtm(
                keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)]),
                protect_ends=False,
            ),
        ]

    compare(make, fits=2)


@pytest.mark.long
def test_two_optimizers_of_one_model_train_on_two_devices_as_on_one():
    def make():
        model = Generator()
        model.build((None, 6))
        return [model]

    compare(make)
