"""Tangent kernels beside products of Jacobians in NumPy."""

import keras
import numpy as np
import pytest
from networks import dense_model, jacobian_of, vector_of

from kbp.diagnostics import kernel_spectrum, tangent_kernel

RNG = np.random.default_rng(0)
X, OTHER = RNG.normal(size=(7, 3)), RNG.normal(size=(4, 3))
UNITS = (5, 4, 2)


@pytest.mark.long
@pytest.mark.parametrize("chunk", [None, 1, 3, 7])
@pytest.mark.parametrize("outputs", ["mean", "trace", "full"])
@pytest.mark.parametrize("other", [None, OTHER])
def test_kernels_are_products_of_jacobians(outputs, other, chunk):
    model = dense_model(*UNITS)
    found = tangent_kernel(model, X, other, outputs=outputs, chunk=chunk)
    vector = vector_of(model)
    one = jacobian_of(vector, X, UNITS)
    two = jacobian_of(vector, X if other is None else other, UNITS)
    expected = np.einsum("iap,jbp->ijab", one, two)
    if outputs != "full":
        expected = np.einsum("ijaa->ij", expected)
    if outputs == "mean":
        expected = expected / 2
    assert found.dtype == "float64"
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.long
@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.LSTM(3),
        lambda: keras.layers.Conv1D(3, 2, activation="gelu"),
        lambda: keras.layers.BatchNormalization(),
    ],
)
def test_kernels_of_other_layers_are_sums_over_gradients(layer):
    tf = pytest.importorskip("tensorflow")
    model = keras.Sequential(
        [
            keras.Input((5, 2)),
            layer(),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    x = RNG.normal(size=(3, 5, 2)).astype("float32")
    rows = []
    for one in x:
        with tf.GradientTape() as tape:
            output = model(one[None], training=False)
        slopes = tape.gradient(output, model.trainable_variables)
        rows.append(np.concatenate([np.ravel(s) for s in slopes]))
    np.testing.assert_allclose(
        tangent_kernel(model, x), np.array(rows) @ np.transpose(rows), rtol=1e-4
    )


def test_several_inputs_and_outputs_stand_side_by_side():
    a, b = keras.Input((2,), name="a"), keras.Input((1,), name="b")
    both = keras.layers.Concatenate()([a, b])
    outputs = {
        "u": keras.layers.Dense(1, name="u")(both),
        "v": keras.layers.Dense(2, name="v")(both),
    }
    x = {"a": X[:, :2], "b": X[:, 2:]}
    model = keras.Model({"a": a, "b": b}, outputs)
    found = tangent_kernel(model, x, outputs="full")
    # Outputs have weights of their own: each has the kernel x . x' + 1.
    expected = (X @ X.T + 1)[:, :, None, None] * np.eye(3)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_models_stay_as_they_are():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dropout(0.5),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(2),
        ]
    )
    before = [np.array(v) for v in model.variables]
    tangent_kernel(model, X)
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, np.array(new))


def test_spectra_are_those_of_matrices():
    model = dense_model(*UNITS)
    full = tangent_kernel(model, X, outputs="full")
    rows = jacobian_of(vector_of(model), X, UNITS).reshape(14, -1)
    singular = np.linalg.svd(rows, compute_uv=False)
    found = kernel_spectrum(full)
    np.testing.assert_allclose(found.eigenvalues, singular**2, atol=1e-10)
    np.testing.assert_allclose(
        found.condition_number, (singular[0] / singular[-1]) ** 2, rtol=1e-6
    )
    assert kernel_spectrum(np.zeros((2, 2))).condition_number == np.inf


@pytest.mark.parametrize(
    "kernel",
    [
        np.ones(3),
        np.ones((2, 3)),
        np.ones((2, 2, 3)),
        np.ones((2, 2, 3, 2)),
        np.ones((0, 0)),
        np.full((2, 2), np.nan),
        np.array([[1.0, 2.0], [0.0, 1.0]]),
    ],
)
def test_what_is_no_kernel_has_no_spectrum(kernel):
    with pytest.raises(ValueError, match="`kernel` must be"):
        kernel_spectrum(kernel)


def frozen():
    model = dense_model(2, 2)
    model.trainable = False
    return model


@pytest.mark.parametrize(
    ("make", "x1", "options", "words"),
    [
        (
            lambda: keras.Sequential([keras.layers.Dense(2)]),
            X,
            {},
            "must be built",
        ),
        (frozen, X, {}, "weights to train"),
        (dense_model, X, {"outputs": "sum"}, "`outputs` must be"),
        (dense_model, X, {"chunk": 0}, "`chunk` must be"),
        (dense_model, X[:0], {}, "`x1` must hold"),
        (dense_model, X, {"x2": X[:0]}, "`x2` must hold"),
        (dense_model, 3.0, {}, "`x1` must hold"),
        (dense_model, np.full((2, 3), "a"), {}, "must be numbers"),
        (dense_model, X[:, :1], {}, "must be batches of"),
        (dense_model, X, {"x2": X[:, :1]}, "must be batches of"),
    ],
)
def test_what_has_no_kernel_is_said_in_one_line(make, x1, options, words):
    model = make(2, 2) if make is dense_model else make()
    with pytest.raises(ValueError, match=words) as said:
        tangent_kernel(model, x1, **options)
    assert "\n" not in str(said.value)
