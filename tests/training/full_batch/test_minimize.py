"""Networks trained on all examples at once."""

import time

import keras
import numpy as np
import pytest
from scipy import optimize

import kbp
from kbp.training.full_batch.registry import METHODS

METHOD_NAMES = ("l-bfgs", "gauss-newton", "annealing")


def regression(rows=40, dtype=None):
    """Return a network of 7 weights and a task with noise, which it knows."""
    keras.utils.set_random_seed(2)
    layers = [
        keras.Input((1,)),
        keras.layers.Dense(2, "tanh", dtype=dtype),
        keras.layers.Dense(1, dtype=dtype),
    ]
    model = keras.Sequential(layers)
    model.compile(loss=keras.losses.MeanSquaredError())
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, size=(rows, 1))
    y = 1.5 * np.tanh(2 * x + 0.5) + np.tanh(x - 1)
    y += 0.05 * rng.normal(size=(rows, 1))
    return model, x, y


def squares_of(model, x, y):
    """Return the residuals of a network of `regression`, in NumPy."""

    def residuals(vector):
        (a, b), (c, d), (e, f, g) = vector[:2], vector[2:4], vector[4:]
        hidden = np.tanh(x * [[a, b]] + [c, d])
        return ((hidden @ [[e], [f]] + g) - y).ravel()

    parts = [np.ravel(w) for w in model.get_weights()]
    start = np.concatenate(parts).astype("float64")
    return residuals, start


@pytest.mark.long
@pytest.mark.parametrize("method", ["l-bfgs", "gauss-newton"])
def test_the_bottom_is_that_of_least_squares(method):
    model, x, y = regression(dtype="float64")
    residuals, start = squares_of(model, x, y)
    exact = optimize.least_squares(
        residuals, start, xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    history = kbp.training.minimize(
        model, x, y, method=method, tolerance=1e-12, max_steps=3000
    )
    lowest = np.mean(exact.fun**2)
    np.testing.assert_allclose(history.history["loss"][-1], lowest, rtol=1e-8)
    # Units may change places and signs, so the networks are compared.
    vector = np.concatenate([np.ravel(w) for w in model.get_weights()])
    np.testing.assert_allclose(residuals(vector), exact.fun, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_a_float32_network_keeps_what_float64_found(method):
    model, x, y = regression()
    before = model.evaluate(x, y, verbose=0)
    history = kbp.training.minimize(
        model, x, y, method=method, dtype="float64", max_steps=60
    )
    losses = history.history["loss"]
    after = model.evaluate(x, y, verbose=0)
    assert after < before / 10
    assert after == pytest.approx(min(losses), rel=1e-3, abs=1e-6)
    assert {w.dtype for w in model.weights} == {"float32"}
    assert keras.config.floatx() == "float32"


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_callbacks_see_steps_and_may_stop_them(method):
    model, x, y = regression()
    seen = []

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((epoch, logs))
            self.model.stop_training = True

    history = kbp.training.minimize(
        model, x, y, method=method, callbacks=[Stop()], validation_data=(x, y)
    )
    assert [epoch for epoch, _ in seen] == [0]
    assert history.history["loss"] == [logs["loss"] for _, logs in seen]
    assert history.history["val_loss"] == pytest.approx(
        history.history["loss"], rel=1e-5
    )


@pytest.mark.long
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_steps_and_seconds_are_bounds(method):
    model, x, y = regression()
    history = kbp.training.minimize(model, x, y, method=method, max_steps=3)
    assert len(history.history["loss"]) <= 3
    began = time.monotonic()
    kbp.training.minimize(
        model, x, y, method=method, max_steps=10**6, max_seconds=0.0
    )
    assert time.monotonic() - began < 10


@pytest.mark.slow
def test_annealing_of_many_weights_ends_with_the_best_it_met():
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((4,)),
        keras.layers.Dense(24, "tanh"),
        keras.layers.Dense(1),
    ]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4))
    y = np.sin(x.sum(axis=1, keepdims=True))
    start, states = model.get_weights(), []
    for _ in range(2):
        model.set_weights(start)
        history = kbp.training.minimize(
            model, x, y, method="annealing", max_steps=200, seed=1
        )
        losses = history.history["loss"]
        rises = np.diff(losses) > 0
        assert rises.any(), "it never went uphill"
        assert model.evaluate(x, y, batch_size=64, verbose=0) == pytest.approx(
            min(losses), rel=1e-4
        )
        states.append(model.get_weights())
    for a, b in zip(*states, strict=True):
        np.testing.assert_array_equal(a, b)


def test_layers_inside_layers_compute_in_float64():
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "tanh")])
    inputs = keras.Input((5, 3))
    x = keras.layers.TimeDistributed(inner)(inputs)
    x = keras.layers.Bidirectional(keras.layers.GRU(2))(x)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile(loss="mse")
    rng = np.random.default_rng(0)
    history = kbp.training.minimize(
        model,
        rng.normal(size=(6, 5, 3)),
        rng.normal(size=(6, 1)),
        method="l-bfgs",
        dtype="float64",
        max_steps=300,
    )
    assert history.history["loss"][-1] < 1e-12


def test_wrong_arguments_are_told():
    model, x, y = regression()
    with pytest.raises(ValueError, match="`max_steps` must be a whole"):
        kbp.training.minimize(model, x, y, max_steps=0)
    with pytest.raises(ValueError, match="`tolerance` must not be negative"):
        kbp.training.minimize(model, x, y, tolerance=-1.0)
    with pytest.raises(ValueError, match="`dtype` must be one of"):
        kbp.training.minimize(model, x, y, dtype="float16")
    for method in ("gaus-newton", 3):
        with pytest.raises(ValueError, match="`method` must be one of"):
            kbp.training.minimize(model, x, y, method=method)
    with pytest.raises(ValueError, match=r"`memry`. It takes memory"):
        kbp.training.minimize(model, x, y, memry=3)
    loose = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="must be compiled with a loss"):
        kbp.training.minimize(loose, x, y)
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    unbuilt.compile(loss="mse")
    with pytest.raises(ValueError, match="must be built"):
        kbp.training.minimize(unbuilt, x, y)


def test_what_is_no_number_is_refused_before_the_first_step():
    model, x, y = regression()
    x[3] = np.nan
    with pytest.raises(ValueError, match="no finite number at its first"):
        kbp.training.minimize(model, x, y)


def test_every_method_is_tried_here():
    ours = {name.replace("-", "_") for name in METHOD_NAMES}
    assert ours <= {*METHODS}


@pytest.mark.long
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("end", ["seconds", "steps", "callback", "key"])
def test_annealing_never_ends_worse_than_it_began(many, end):
    model, x, y = regression()
    if many:
        layers = [keras.Input((1,)), keras.layers.Dense(60, "tanh")]
        model = keras.Sequential([*layers, keras.layers.Dense(1)])
        model.compile("adam", "mse")

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if end == "callback":
                self.model.stop_training = True
            elif end == "key":
                raise KeyboardInterrupt

    before = model.evaluate(x, y, verbose=0)
    bounds = {"seconds": {"max_seconds": 0.5}, "steps": {"max_steps": 2}}
    options = {"method": "annealing", "callbacks": [Stop()]}
    options |= bounds.get(end, {"max_seconds": 20})
    if end == "key":
        with pytest.raises(KeyboardInterrupt):
            kbp.training.minimize(model, x, y, **options)
        assert model.evaluate(x, y, verbose=0) <= before * (1 + 1e-6)
        return
    losses = kbp.training.minimize(model, x, y, **options).history["loss"]
    after = model.evaluate(x, y, verbose=0)
    assert after <= before * (1 + 1e-6)
    assert after == pytest.approx(min(losses), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: {"x": x[:, :0]}, "must be batches of"),
        (lambda x, y: {"x": x.tolist()}, "must be arrays of"),
        (lambda x, y: {"y": y[:3]}, "have 40 examples, but targets of"),
        (lambda x, y: {"sample_weight": y[:3, 0]}, "but weights of shape"),
        (lambda x, y: {"x": x[:0], "y": y[:0]}, "they have 0 rows"),
        (lambda x, y: {"validation_data": (x, y[:2])}, "but targets of"),
        (lambda x, y: {"method": "lbfgs"}, "`method` must be one of"),
        (lambda x, y: {"steps": 3}, "l-bfgs takes no argument `steps`"),
    ],
)
def test_what_does_not_fit_is_named_at_once(change, message):
    model, x, y = regression()
    with pytest.raises(ValueError, match=message):
        kbp.training.minimize(model, **{"x": x, "y": y, **change(x, y)})
