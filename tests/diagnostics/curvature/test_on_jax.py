"""The curvature is the same on JAX."""

import json

import fresh
import numpy as np
import pytest

JAX = """
import json, sys
import keras, numpy as np
from kbp.diagnostics import Sharpness, hessian_spectrum, is_saddle, loss_surface
rng = np.random.default_rng(0)
x, y = rng.normal(size=(12, 4)), rng.integers(0, 3, 12)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

def made():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(6, "tanh", kernel_regularizer="l2"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(3),
    ])
    model.compile("sgd", loss)
    weights = np.random.default_rng(1)
    model.set_weights([
        np.abs(weights.normal(size=w.shape)) for w in model.weights
    ])
    return model

model = made()
spectrum = hessian_spectrum(model, (x, y), k=2, batch_size=5)
surface = loss_surface(model, (x, y), points=3)
said = {
    "eigenvalues": spectrum.eigenvalues.tolist(),
    "losses": surface.losses.tolist(),
    "saddle": is_saddle(model, (x, y)).gradient_norm,
}
sharpness = Sharpness((x, y), unit="steps")
runs = []
for callbacks in ([sharpness], []):
    model = made()
    model.fit(x, y, epochs=2, batch_size=6, verbose=0, callbacks=callbacks)
    runs.append([np.array(v) for v in model.variables])
for one, other in zip(*runs, strict=True):
    np.testing.assert_array_equal(one, other)
here = hessian_spectrum(model, (x, y), k=1, which="largest").largest
np.testing.assert_allclose(sharpness.values[-1], here, rtol=1e-3)
assert len({*sharpness.values}) == 5
print(json.dumps(said))
"""


def test_curvature_is_the_same_on_jax():
    pytest.importorskip("jax")
    found, expected = (
        json.loads(fresh.python(JAX, KERAS_BACKEND=backend).splitlines()[-1])
        for backend in ("jax", "tensorflow")
    )
    for key, value in expected.items():
        np.testing.assert_allclose(
            found[key], value, atol=1e-4 * np.abs(value).max(), err_msg=key
        )
