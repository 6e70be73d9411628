"""`GradientRange` keeps what comes backward in a range, and nothing else."""

import fresh
import keras
import numpy as np
import pytest
import tensorflow as tf

import kbp
from kbp.layers import GradientRange

SHAPES = [(4,), (4, 3), (4, 3, 2), (4, 2, 3, 2)]


def in_range(gradient, low, high, by):
    """Return what is to come out of the layer backward, from the formula."""
    wide = gradient.astype("float64")
    if by == "value":
        return np.minimum(np.maximum(wide, low), high)
    found = np.zeros_like(wide)
    for place, part in enumerate(wide):
        norm = np.sqrt((part**2).sum())
        if norm:
            found[place] = part * min(max(norm, low), high) / norm
    return found


def gradient_of(layer, x, upstream, jit=None):
    """Return outputs and gradient, eagerly or in a graph."""

    def both(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, tape.gradient(y, x, upstream)

    if jit is not None:
        both = tf.function(both, jit_compile=jit)
    y, gradient = both(tf.constant(x), tf.constant(upstream))
    return y.numpy(), gradient.numpy()


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("jit", [None, False, True])
@pytest.mark.parametrize(
    ("low", "high", "by"),
    [(-0.5, 1.0, "value"), (0, 2.0, "norm"), (1.0, 1.5, "norm")],
)
def test_gradients_are_those_of_the_formula(low, high, by, jit, dtype):
    rng = np.random.default_rng(0)
    layer = GradientRange(low, high, by=by, dtype=dtype)
    for shape in SHAPES:
        x, upstream = rng.normal(size=(2, *shape)).astype(dtype)
        upstream[0] = 0  # which stays 0
        upstream[1] *= 0.01
        upstream[2] *= 1e4 if dtype == "float16" else 1e30
        y, found = gradient_of(layer, x, upstream, jit)
        np.testing.assert_array_equal(y, x)
        assert found.dtype == dtype
        expected = in_range(upstream, low, high, by)
        # A few roundings.
        np.testing.assert_allclose(
            found, expected, rtol=8 * np.finfo(dtype).eps
        )
        assert not found[0].any()


def test_gradient_that_is_not_finite_stays_so():
    x = np.ones((2, 3), "float32")
    upstream = np.array([[np.nan, 1, 1], [1, 0, 0]], "float32")
    for by, low in (("value", -2), ("norm", 0)):
        _, found = gradient_of(GradientRange(low, 2, by=by), x, upstream)
        assert np.isnan(found[0, 0])
        np.testing.assert_array_equal(found[1], upstream[1])


@pytest.mark.parametrize(
    ("low", "high", "by"),
    [
        (1, -1, "value"),
        (0, 0, "value"),
        (0.1, 1, "value"),
        (-1, -0.1, "value"),
        (-1, 1, "norm"),
        (2, 1, "norm"),
        (0, np.inf, "norm"),
        (np.nan, 1, "value"),
    ],
)
def test_wrong_range_is_named(low, high, by):
    with pytest.raises(ValueError, match=rf"`low` and `high`.*low={low}"):
        GradientRange(low, high, by=by)


def test_wrong_word_is_named():
    with pytest.raises(ValueError, match=r"`by` must be one of.*'size'"):
        GradientRange(0, 1, by="size")


@pytest.mark.slow
def test_layer_is_dropped_on_the_way_to_files_and_named_by_checks(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, activation="tanh"),
            GradientRange(0, 1e-3, by="norm", name="range"),
            keras.layers.Dense(3),
        ]
    )
    plain = keras.Sequential(
        [keras.Input((6,)), model.layers[0], model.layers[2]]
    )
    x, y = np.random.default_rng(0).normal(size=(2, 16, 6)).astype("float32")
    found = kbp.diagnostics.check_gradients(model, x, y[:, :3], "mse")
    assert found.custom == ("range",)
    assert not found.passed
    pruned = kbp.sparsity.apply_dtm(model, protect_ends=False)
    trained = kbp.quantization.quantize_aware(pruned, [x])
    trained.compile("sgd", "mse")
    trained.fit(x, y[:, :3], verbose=0)
    assert any(isinstance(one, GradientRange) for one in trained.layers)
    for float_model, name in ((model, "with"), (plain, "without")):
        done = kbp.quantization.quantize_aware(float_model, [x])
        kbp.export.to_tflite(done, tmp_path / f"{name}.tflite")
    ours, theirs = (
        (tmp_path / f"{name}.tflite").stat().st_size
        for name in ("with", "without")
    )
    # Some names of tensors alone differ.
    assert abs(ours - theirs) < 200
    shrunk = kbp.sparsity.shrink(model)
    np.testing.assert_allclose(shrunk(x), model(x), atol=1e-6)
    saved = kbp.export.to_saved_model(model, tmp_path / "saved")
    served = tf.saved_model.load(str(saved))
    np.testing.assert_allclose(served.serve(x), model(x), atol=1e-6)


ON_JAX = """
import sys
import jax, keras, kbp
import numpy as np
folder = sys.argv[1]
data = np.load(f"{folder}/data.npz")
found = {}
for by, low in (("value", -0.5), ("norm", 0.5)):
    layer = kbp.layers.GradientRange(low, 1.0, by=by)
    y, pull = jax.vjp(jax.jit(layer), data["x"])
    (found[by],) = pull(jax.numpy.asarray(data["upstream"]))
np.savez(f"{folder}/jax.npz", **found)
"""


@pytest.mark.long
def test_jax_has_the_same_gradients(tmp_path):
    pytest.importorskip("jax")
    x, upstream = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("f4")
    np.savez(tmp_path / "data.npz", x=x, upstream=upstream)
    fresh.python(ON_JAX, tmp_path, KERAS_BACKEND="jax")
    found = np.load(tmp_path / "jax.npz")
    for by, low in (("value", -0.5), ("norm", 0.5)):
        np.testing.assert_allclose(
            found[by], in_range(upstream, low, 1.0, by), rtol=1e-6
        )
