"""Curvature and tangent kernels are the same on JAX."""

import sys

import fresh
import numpy as np
import pytest

MADE = """
import keras, numpy as np
from kbp.diagnostics import (
    Sharpness, hessian_spectrum, is_saddle, linearized, loss_surface,
    tangent_kernel,
)

def made():
    model = keras.Sequential([
        keras.Input((4,)),
        keras.layers.Dense(6, "tanh", kernel_regularizer="l2"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(3),
    ])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    rng = np.random.default_rng(1)
    model.set_weights([
        np.abs(rng.normal(size=w.shape)) for w in model.weights
    ])
    return model

def figures():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 4)), rng.normal(size=(12, 3))
    model = made()
    spectrum = hessian_spectrum(model, (x, y), k=2, batch_size=5)
    linear = linearized(model)
    linear.compile(keras.optimizers.SGD(0.01), "mse")
    linear.fit(x, y, epochs=3, batch_size=12, verbose=0)
    return {
        "eigenvalues": spectrum.eigenvalues,
        "losses": loss_surface(model, (x, y), points=3).losses,
        "gradient": is_saddle(model, (x, y)).gradient_norm,
        "kernel": tangent_kernel(model, x, outputs="full", chunk=5),
        "linear": np.array(linear(x)),
    }
"""
RUN = """
import sys
np.savez(sys.argv[1], **figures())
rng = np.random.default_rng(0)
x, y = rng.normal(size=(12, 4)), rng.normal(size=(12, 3))
sharpness, runs = Sharpness((x, y), unit="steps"), []
for callbacks in ([sharpness], []):
    keras.utils.set_random_seed(0)
    model = made()
    model.fit(x, y, epochs=2, batch_size=6, verbose=0, callbacks=callbacks)
    runs.append([np.array(v) for v in model.variables])
for one, other in zip(*runs, strict=True):
    np.testing.assert_array_equal(one, other)
here = hessian_spectrum(model, (x, y), k=1, which="largest").largest
np.testing.assert_allclose(sharpness.values[-1], here, rtol=1e-3)
assert len({*sharpness.values}) == 5
"""


@pytest.mark.long
def test_figures_are_the_same_on_jax(tmp_path):
    pytest.importorskip("jax")
    fresh.python(MADE + RUN, tmp_path / "jax.npz", KERAS_BACKEND="jax")
    assert "jax" not in sys.modules["keras"].backend.backend()
    names = {}
    exec(MADE, names)
    expected = names["figures"]()
    with np.load(tmp_path / "jax.npz") as found:
        assert {*found} == {*expected}
        for key, value in expected.items():
            np.testing.assert_allclose(
                found[key],
                value,
                atol=1e-4 * np.abs(value).max(),
                err_msg=key,
            )
