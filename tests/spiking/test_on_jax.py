"""Spiking networks on JAX."""

import fresh
import pytest

CODE = """
import keras, numpy as np
from kbp import spiking
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(32, 8, 8, 2)).astype("float32")
model = keras.Sequential([
    keras.Input((8, 8, 2)),
    keras.layers.Conv2D(4, 3, use_bias=False),
    keras.layers.BatchNormalization(),
    keras.layers.ReLU(),
    keras.layers.Flatten(),
    keras.layers.Dense(3, activation="softmax"),
])
made = spiking.to_spiking(model, x, timesteps=64, percentile=100)
gap = abs(made.predict(x, verbose=0) - model.predict(x, verbose=0)).max()
assert gap < 0.03, gap
made = spiking.to_spiking(model, x, timesteps=4, learn_threshold=True)
made.compile("adam", "sparse_categorical_crossentropy")
y = np.arange(32) % 3
losses = made.fit(x, y, epochs=8, verbose=0).history["loss"]
assert losses[-1] < 0.95 * losses[0], losses
assert spiking.cost(made, x).total("spikes") > 0
drawn = spiking.PoissonRate(500, seed=1)(np.full((1, 4), 0.25, "float32"))
assert abs(float(keras.ops.mean(drawn)) - 0.25) < 0.05
ups = spiking.DeltaModulation(1.0)(x.reshape(32, -1, 2))
assert ups.shape == (32, 64, 4)
"""


@pytest.mark.long
def test_networks_spike_and_learn_on_jax():
    pytest.importorskip("jax")
    fresh.python(CODE, KERAS_BACKEND="jax")
