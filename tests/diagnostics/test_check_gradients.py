"""Gradients beside central differences: right ones pass, wrong ones do not."""

import fresh
import keras
import numpy as np
import pytest
from layer_cases import CASES

from kbp import layers, losses, models
from kbp.diagnostics import (
    GradientCheck,
    VariableCheck,
    check_gradients,
    check_layer,
)
from kbp.diagnostics.differences import compare
from kbp.diagnostics.layers import with_own_gradients

ops = keras.ops
RNG = np.random.default_rng(0)


def scaled(factor):
    """Return an identity whose gradient is wrong by a factor."""

    @ops.custom_gradient
    def identity(x):
        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            return upstream * factor

        return x + 0.0, gradient

    return identity


@keras.saving.register_keras_serializable(package="tests_of_gradients")
class Wrong(keras.layers.Layer):
    def call(self, x):
        return scaled(1 + 1e-4)(x)


def dense(*more, activation="tanh", outputs=3):
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, activation, name="first"),
            *more,
            keras.layers.Dense(outputs, name="last"),
        ]
    )


X, Y = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 3))


def test_errors_are_those_of_the_formula():
    # f(a, b) = sum(a^3 + 2 b): central differences of a^3 are off by step^2.
    values = [np.array([1.0, -2.0]), np.array([[3.0]])]
    (first, second) = compare(
        lambda tensors: ops.sum(tensors[0] ** 3) + 2 * ops.sum(tensors[1]),
        ["a", "b"],
        values,
        samples=5,
        step=1e-2,
        seed=0,
    )
    slopes = 3 * values[0] ** 2
    numeric = slopes + 1e-4
    error = np.linalg.norm(slopes - numeric) / (
        np.linalg.norm(slopes) + np.linalg.norm(numeric)
    )
    np.testing.assert_allclose(first.error, error, rtol=1e-6)
    assert (first.size, first.checked, first.kinks) == (2, 2, 0)
    assert (second.name, second.verdict) == ("b", "right")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("loss", ["mse", keras.losses.Huber(), "compiled"])
def test_gradients_of_keras_are_right(training, loss):
    model = dense(
        keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, name="off")
    )
    weights = [np.array(w) for w in model.weights]
    if loss == "compiled":
        loss = None
        model.compile(loss=keras.losses.MeanSquaredError())
    found = check_gradients(model, X, Y, loss, training=training)
    assert found.passed
    assert found.error < 1e-7
    assert found.silenced == (("off",) if training else ())
    assert len(found.variables) == len(model.trainable_variables)
    for before, after in zip(weights, model.weights, strict=True):
        np.testing.assert_array_equal(before, after)
    assert model.layers[-2].rate == 0.5
    assert model.dtype == "float32"


def test_penalties_of_layers_belong_to_the_loss():
    model = dense()
    model.layers[0].kernel.regularizer = keras.regularizers.L2(0.5)
    assert check_gradients(model, X, Y, "mse").passed


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: dense(Wrong()),
        lambda: dense(layers.DTMDense(5, threshold=0.3), activation="relu"),
    ],
)
def test_wrong_gradients_are_found_and_their_layers_named(wrong):
    model = wrong()
    found = check_gradients(model, X, Y, "mse", training=True)
    verdicts = {x.name: x.verdict for x in found.variables}
    assert not found.passed
    assert verdicts["last/kernel"] == "right"
    assert "wrong" in verdicts.values()
    (custom,) = found.custom
    assert custom.split("/")[0] == model.layers[1].name
    assert f"replaced in {model.layers[1].name}" in str(found)


def test_layers_that_leave_derivatives_to_the_backend_are_not_named():
    model = models.PyramidBPNet((16, 16, 1), 3, width=8)
    assert with_own_gradients(model) == ()
    bounded = layers.ResidualDense(4, path_norm_bound=0.5)
    bounded(np.ones((1, 4)), np.ones((1, 4)))
    assert with_own_gradients(bounded)


@pytest.mark.parametrize("factor", [1 + 1e-4, 0.99, -1.0])
def test_wrong_gradients_of_functions_are_found(factor):
    found = check_layer(scaled(factor), (4, 7))
    (only,) = found.variables
    assert only.verdict == "wrong"
    right = abs(factor - 1) / (abs(factor) + 1)
    np.testing.assert_allclose(only.error, right, rtol=1e-4)


def test_small_errors_are_doubtful():
    found = check_layer(scaled(1 + 1e-6), (4, 7))
    assert [x.verdict for x in found.variables] == ["doubtful"]
    assert found.passed


@pytest.mark.parametrize("place", [0.0, 1e-7, -3e-6])
def test_kinks_are_left_out(place):
    values = [np.array([place, 1.0, -2.0, 0.5])]
    (only,) = compare(
        lambda tensors: ops.sum(ops.relu(tensors[0]) * 3.0),
        ["x"],
        values,
        samples=9,
        step=None,
        seed=0,
    )
    assert (only.kinks, only.checked, only.verdict) == (1, 3, "right")


def test_a_gradient_beside_both_slopes_of_a_kink_is_wrong():
    def twice(tensors):
        return ops.sum(scaled(2.0)(ops.relu(tensors[0])))

    (only,) = compare(
        twice, ["x"], [np.array([1e-7, 1.0])], samples=9, step=None, seed=0
    )
    assert only.verdict == "wrong"


def test_gradients_of_zero_are_not_judged_by_rounding():
    # What a bias adds before BatchNormalization is taken away again.
    model = dense(keras.layers.BatchNormalization(), activation="linear")
    found = check_gradients(model, X, Y, "mse", training=True)
    bias = next(x for x in found.variables if x.name == "first/bias")
    assert (bias.error, bias.verdict) == (0.0, "right")


def test_large_variables_are_sampled_by_a_seed():
    def run(seed, samples=7):
        model = dense()
        model.set_weights([np.full(w.shape, 0.1) for w in model.weights])
        found = check_gradients(
            model, X, Y, "mse", ["first"], samples=samples, seed=seed
        )
        kernel, bias = found.variables
        assert (kernel.size, kernel.checked) == (20, min(20, samples))
        assert bias.checked == 5
        return kernel.error

    assert run(0) == run(0)
    assert run(0) != run(1)
    run(0, samples=100)


# Those that change gradients, by whether in training alone.
ON_PURPOSE = {
    "gradient_range": (False, True),
    "truncated": (True,),
}


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("training", [False, True])
def test_gradients_of_all_layers_are_right(case, training):
    make, shapes, _ = CASES[case]
    layer = make()
    for part in (layer, getattr(layer, "dtm", None)):
        if getattr(part, "estimator", "exact") != "exact":
            pytest.skip("straight through: its gradient is not the slope's")
    if training and "bounded" in case:
        pytest.skip("its gradients are bounded on purpose")
    if training and case == "truncated_at_random":
        pytest.skip("its gradients are cut at random")
    found = check_layer(
        layer, [(3, *shape) for shape in shapes], training=training
    )
    changed = training in ON_PURPOSE.get(case, ())
    assert found.passed != changed, str(found)
    if changed:
        assert layer.name in found.custom


def test_exact_masks_have_right_gradients():
    layer = layers.DTMDense(4, threshold=0.2, temperature=5, estimator="exact")
    found = check_layer(layer, (3, 5), training=True)
    assert found.passed, str(found)
    assert any("threshold" in x.name for x in found.variables)


def test_fusion_has_right_gradients():
    layer = layers.FeatureFusion(4, activation="tanh")
    found = check_layer(layer, [(2, 8, 8, 2), (2, 4, 4, 3), (2, 2, 2, 5)])
    assert found.passed, str(found)
    assert {"input 1", "input 2", "input 3"} <= {
        x.name for x in found.variables
    }


CLASSES = RNG.integers(0, 3, (6, 5))
LOSSES = {
    "dice": (losses.DiceCrossEntropy(focal_gamma=2.0), CLASSES),
    "distillation": (losses.Distillation(), RNG.normal(size=(6, 5, 3))),
    "values": (losses.Distillation("values"), RNG.normal(size=(6, 5, 3))),
    "pinball": (losses.Pinball(0.2), RNG.normal(size=(6, 5, 3))),
    "scaled": (losses.ScaledError(0.3), RNG.normal(size=(6, 5, 3))),
    "absolute": (losses.ScaledError(0.3, "mae"), RNG.normal(size=(6, 5, 3))),
}


def test_every_loss_is_checked():
    kinds = {type(loss).__name__ for loss, _ in LOSSES.values()}
    assert kinds == {*losses.__all__}


@pytest.mark.parametrize("case", LOSSES)
def test_gradients_of_all_losses_are_right(case):
    loss, y = LOSSES[case]
    model = keras.Sequential([keras.Input((5, 4)), keras.layers.Dense(3)])
    x = RNG.normal(size=(6, 5, 4))
    found = check_gradients(model, x, y, loss)
    assert found.passed, str(found)
    assert found.error < 1e-7


def test_families_have_right_gradients():
    x = RNG.normal(size=(2, 16, 16, 1))
    model = models.PyramidBPNet((16, 16, 1), 3, width=8)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found = check_gradients(model, x, np.array([0, 2]), loss, samples=20)
    assert found.passed, str(found)
    model = models.BPTransformer((8, 4), 3, width=8, num_heads=2, num_layers=1)
    found = check_gradients(
        model, x[:, 0, :8, :] * np.ones(4), np.array([0, 2]), loss, samples=20
    )
    assert found.passed, str(found)


def two_heads():
    inputs = keras.Input(X.shape[1:])
    heads = [keras.layers.Dense(3)(inputs), keras.layers.Dense(1)(inputs)]
    return keras.Model(inputs, heads)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (X[:, :-1], Y, "must be batches of"),
        (X, Y[:-1], "but targets of shape"),
        (X[:0], Y[:0], "they have 0 rows"),
        (X.tolist(), Y, "must be arrays of"),
    ],
)
def test_arrays_that_do_not_fit_are_said(x, y, words):
    with pytest.raises(ValueError, match=words):
        check_gradients(dense(), x, y, "mse")


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (keras.layers.Dense(3), 4, "`shape` must be whole numbers"),
        (keras.layers.Dense(3), (None, 4), "`shape` must be whole numbers"),
        (keras.layers.Dense(3), (0, 4), "`shape` must be whole numbers"),
        (keras.layers.Dense(3), [(2, 4), 3], "`shape` must be whole numbers"),
        (lambda x: keras.ops.argmax(x, -1), (2, 4), "must give floats"),
    ],
)
def test_layers_that_cannot_be_checked_are_said(layer, shape, words):
    with pytest.raises(ValueError, match=words):
        check_layer(layer, shape)


def untied(**config):
    return keras.Sequential([keras.layers.Dense(3)])


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (untied, {}, "must be built"),
        (dense, {"loss": None}, "has no loss"),
        (two_heads, {}, "has 2 outputs: argument `loss` must be a list"),
        (dense, {"variables": ["frist"]}, "first/kernel"),
        (dense, {"samples": 0}, "`samples`"),
        (dense, {"step": 0.0}, "`step` must be between"),
        (dense, {"step": float("nan")}, "`step` must be between"),
        (
            lambda: dense(keras.layers.Rescaling(float("inf"))),
            {},
            "one finite number",
        ),
        (
            lambda: dense(keras.layers.RandomContrast(0.5)),
            {"training": True},
            "at random",
        ),
    ],
)
def test_what_cannot_be_checked_is_said(make, options, words):
    with pytest.raises(ValueError, match=words):
        check_gradients(make(), X, Y, **{"loss": "mse", **options})


def test_models_that_keras_cannot_rebuild_are_named():
    class Own(keras.Model):
        def __init__(self, inside):
            super().__init__(name="own")
            self.inside = inside

        def call(self, x):
            return self.inside(x)

    model = Own(keras.layers.Dense(3))
    model(X)
    with pytest.raises(ValueError, match="own cannot be rebuilt"):
        check_gradients(model, X, Y, "mse")


def test_nothing_compared_is_not_passed():
    assert not GradientCheck((VariableCheck("x", 3, 0, 3, 0.0),)).passed
    assert not GradientCheck(()).passed


JAX = """
import keras, numpy as np
from kbp import layers
from kbp.diagnostics import check_gradients, check_layer
rng = np.random.default_rng(0)
model = keras.Sequential([
    keras.Input((8, 8, 1)),
    keras.layers.Conv2D(4, 3, activation="relu"),
    keras.layers.BatchNormalization(),
    keras.layers.Dropout(0.5),
    keras.layers.Flatten(),
    keras.layers.Dense(3),
])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
x, y = rng.normal(size=(4, 8, 8, 1)), np.array([0, 1, 2, 1])
found = check_gradients(model, x, y, loss, training=True, samples=40)
assert found.passed and found.error < 1e-7, str(found)
assert check_layer(layers.ResidualDense(4), [(3, 5), (3, 4)]).passed
assert keras.ops.tanh(x).dtype == "float32"
"""


@pytest.mark.long
def test_gradients_are_checked_on_jax():
    pytest.importorskip("jax")
    fresh.python(JAX, KERAS_BACKEND="jax")
