"""Figures of monitors beside NumPy's, their warnings, and what they leave."""

import warnings

import fresh
import keras
import numpy as np
import pytest

import kbp
from kbp.diagnostics import ActivationMonitor, GradientMonitor, effective_rank
from kbp.diagnostics.rules import Watch, activation_rules, gradient_rules
from kbp.optimizers.observing import norm

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 4)).astype("float32")
Y = RNG.normal(size=(32, 3)).astype("float32")


def network(*activations, width=8, scale=None, bias=0.0):
    keras.utils.set_random_seed(0)
    kernel = "glorot_uniform"
    if scale is not None:
        kernel = keras.initializers.RandomNormal(stddev=scale, seed=1)
    layers = [
        keras.layers.Dense(
            width,
            activation,
            kernel_initializer=kernel,
            bias_initializer=keras.initializers.Constant(bias),
            name=f"hidden{i}",
        )
        for i, activation in enumerate(activations)
    ]
    return keras.Sequential(
        [keras.Input((4,)), *layers, keras.layers.Dense(3, name="last")]
    )


def fitted(model, monitor, optimizer=None, **options):
    model.compile(optimizer or kbp.HybridOptimizer(1e-3), "mse")
    settings = {"batch_size": 8, "verbose": 0, "shuffle": False} | options
    model.fit(X, Y, callbacks=[monitor], **settings)
    return monitor


def of(monitor, layer, step=0):
    (row,) = [
        row
        for row in monitor.history
        if (row["layer"], row["step"]) == (layer, step)
    ]
    return row


def own_gradients(model, x, y):
    """Return norms of tanh(x A + a) B + b, by the chain rule in float64."""
    first, a, second, b = (np.asarray(w, "float64") for w in model.weights)
    hidden = np.tanh(x @ first + a)
    slope = 2 * (hidden @ second + b - y) / y.size
    behind = (slope @ second.T) * (1 - hidden**2)
    parts = {
        "hidden0": ([x.T @ behind, behind.sum(0)], [first, a]),
        "last": ([hidden.T @ slope, slope.sum(0)], [second, b]),
    }
    return {
        name: [
            np.sqrt(sum(np.sum(np.square(part)) for part in kind))
            for kind in both
        ]
        for name, both in parts.items()
    }


@pytest.mark.parametrize("probe", [None, (X[:8], Y[:8])])
def test_norms_are_those_of_the_chain_rule(probe):
    model = network("tanh")
    expected = own_gradients(model, *(v[:8].astype("float64") for v in (X, Y)))
    # A probe is measured after the step, so its weights must stay.
    optimizer = keras.optimizers.SGD(0.0) if probe else None
    monitor = fitted(model, GradientMonitor(1, probe=probe), optimizer)
    for layer, norms in expected.items():
        row = of(monitor, layer)
        found = row["gradient_norm"], row["weight_norm"]
        np.testing.assert_allclose(found, norms, rtol=1e-5)
        np.testing.assert_allclose(row["ratio"], norms[0] / norms[1], rtol=1e-5)
        assert row["zeros"] == row["not_finite"] == 0


def test_gradients_whose_squares_are_zero_have_a_norm():
    for scale in (1e-30, 1e30):
        value = norm(keras.ops.full((3, 4), scale))
        np.testing.assert_allclose(value, np.sqrt(12) * scale, rtol=1e-5)


def test_steps_that_are_due_are_measured():
    monitor = fitted(network("tanh"), GradientMonitor(3), epochs=2)
    assert [r["step"] for r in monitor.history] == [0, 0, 3, 3, 6, 6]
    monitor = GradientMonitor(2)
    model = network("tanh")
    model.compile(kbp.HybridOptimizer(), "mse", steps_per_execution=2)
    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[monitor])
    assert {r["step"] for r in monitor.history} == {0, 2}


def test_two_monitors_of_one_optimizer_both_see_their_steps():
    monitors = [GradientMonitor(2), GradientMonitor(3)]
    model = network("tanh")
    model.compile(kbp.HybridOptimizer(), "mse")
    model.fit(X, Y, batch_size=4, verbose=0, shuffle=False, callbacks=monitors)
    alone = fitted(network("tanh"), GradientMonitor(1), batch_size=4)
    for monitor, every in zip(monitors, (2, 3), strict=True):
        expected = [r for r in alone.history if r["step"] % every == 0]
        assert monitor.history == expected


def test_model_that_was_traced_before_is_measured_too():
    model = network("tanh")
    model.compile(kbp.HybridOptimizer(), "mse")
    model.fit(X, Y, batch_size=8, verbose=0)
    monitor = GradientMonitor(2)
    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[monitor])
    assert {row["step"] for row in monitor.history} == {4, 6}
    assert all(row["gradient_norm"] > 0 for row in monitor.history)


def test_scaled_loss_is_taken_out_of_gradients():
    monitors = [
        fitted(network("tanh"), GradientMonitor(), optimizer)
        for optimizer in (
            kbp.HybridOptimizer(),
            kbp.optimizers.LossScale(kbp.HybridOptimizer()),
        )
    ]
    for one, two in zip(*(m.history for m in monitors), strict=True):
        assert one["gradient_norm"] == pytest.approx(two["gradient_norm"])


def test_effective_ranks_are_those_of_the_definition():
    left, _ = np.linalg.qr(RNG.normal(size=(9, 4)))
    right, _ = np.linalg.qr(RNG.normal(size=(4, 4)))
    singular = np.array([4.0, 2.0, 1.0, 1.0])
    shares = singular / singular.sum()
    expected = np.prod(shares**-shares)
    found = effective_rank(left * singular @ right)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert effective_rank(np.zeros((3, 2))) == 0
    assert np.isnan(effective_rank([[np.inf, 1.0]]))
    with pytest.raises(ValueError, match="`matrix` must be a matrix"):
        effective_rank(np.ones(3))


def test_shares_of_activations_are_those_of_numpy():
    model = network("relu", "sigmoid", scale=4.0)
    first, a, second, b, *_ = (np.asarray(w, "float64") for w in model.weights)
    relu = np.maximum(X @ first + a, 0)
    with np.errstate(over="ignore"):
        sigmoid = 1 / (1 + np.exp(-(relu @ second + b)))
    still = keras.optimizers.SGD(0.0)
    monitor = fitted(model, ActivationMonitor(X, saturated=0.999), still)
    row = of(monitor, "hidden0")
    assert row["zeros"] == pytest.approx(np.mean(relu == 0))
    assert row["dead"] == pytest.approx(np.mean((relu == 0).all(axis=0)))
    assert row["saturated"] is None
    np.testing.assert_allclose(
        row["effective_rank"], effective_rank(relu), rtol=1e-4
    )
    row = of(monitor, "hidden1")
    ends = np.mean((sigmoid <= 0.01) | (sigmoid >= 0.99))
    assert row["saturated"] == pytest.approx(ends)
    assert row["dead"] is None
    last = of(monitor, "last")
    assert last["dead"] is last["saturated"] is None


def test_channels_that_a_mask_closes_are_not_dead():
    image = keras.Input((6, 6, 2))
    scale = kbp.layers.ChannelScale()
    hidden = scale(keras.layers.Conv2D(4, 3, use_bias=False)(image))
    outputs = keras.layers.ReLU(name="relu")(hidden)
    model = keras.Model(image, outputs)
    images = np.random.default_rng(0).normal(size=(8, 6, 6, 2))

    def dead(factors):
        scale.kernel.assign(factors)
        monitor = ActivationMonitor(images)
        model.compile(keras.optimizers.SGD(0.0), "mse")
        model.fit(
            images, np.zeros((8, 4, 4, 4)), verbose=0, callbacks=[monitor]
        )
        return of(monitor, "relu")["dead"]

    assert dead([1.0, 1.0, 0.0, 0.0]) == dead([0.0] * 4) == 0
    # One that is open, and never above 0, is.
    kernel = model.layers[1].kernel
    kernel.assign(-abs(kernel))
    images = abs(images)
    assert dead([1.0, 0.0, 0.0, -1.0]) == 0.5


def broken():
    model = network("relu", "relu")
    model.layers[0].kernel.assign(np.full((4, 8), np.nan))
    return model


DEEP = ("sigmoid",) * 8
TROUBLE = {
    "vanishing": (
        lambda: network(*DEEP),
        lambda: GradientMonitor(),
        "Gradients vanish with depth: at step 0 that of layer hidden0, the "
        "first of 9, is ",
    ),
    "exploding": (
        lambda: network(*("relu",) * 6, scale=8.0),
        lambda: GradientMonitor(),
        "Gradients explode: at step 0 they are ",
    ),
    "gradients": (
        broken,
        lambda: GradientMonitor(),
        "Gradients are not finite at step 0: 100.00% of those of layer last",
    ),
    "dead": (
        lambda: network("relu", "relu", bias=-100.0),
        lambda: ActivationMonitor(X),
        "Dead units: at step 0 100% of the ReLUs of layer hidden0 are 0 for "
        "all examples of the probe, and in 1 other layer.",
    ),
    "saturated": (
        lambda: network("sigmoid", scale=50.0),
        lambda: ActivationMonitor(X),
        "Saturated units: at step 0 ",
    ),
    "outputs": (
        broken,
        lambda: ActivationMonitor(X),
        "Outputs are not finite at step 0: 100.00% of those of layer hidden0",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", TROUBLE)
def test_trouble_is_named_once(name):
    make, monitor, words = TROUBLE[name]
    with pytest.warns(UserWarning, match="at step 0") as said:
        found = fitted(make(), monitor(), kbp.HybridOptimizer(1e-9))
    own = [str(x.message) for x in said if words in str(x.message)]
    assert len(own) == 1
    assert own[0] in found.warnings
    assert own[0].startswith(words)


@pytest.mark.long
@pytest.mark.parametrize("monitor", [GradientMonitor, ActivationMonitor])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_healthy_networks_get_no_warning(monitor, activation):
    probe = () if monitor is GradientMonitor else (X,)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = fitted(network(activation, activation), monitor(*probe, 1))
    assert found.history
    assert not found.warnings


def test_warning_comes_again_after_it_was_over():
    watch = Watch(activation_rules(0.5, 0.5))
    rows = [
        {"step": i, "layer": "a", "dead": x, "saturated": None, "not_finite": 0}
        for i, x in enumerate([0.6, 0.9, 0.5, 0.7])
    ]
    watch.look_back(rows)
    assert [x.split(" of the")[0] for x in watch.warnings] == [
        "Dead units: at step 0 60%",
        "Dead units: at step 3 70%",
    ]


def test_gradient_of_zero_at_the_start_vanishes_and_without_any_does_not():
    watch = Watch(gradient_rules(1e-3, 100.0))
    row = {"step": 0, "weight_norm": 1.0, "not_finite": 0.0}

    def rows(first, last):
        return [
            {**row, "layer": name, "gradient_norm": norm}
            for name, norm in (("a", first), ("b", last))
        ]

    assert watch.look(rows(0.0, 1.0))
    assert not watch.look(rows(0.0, 0.0))
    assert not watch.look(rows(np.nan, 1.0))
    assert not watch.look(rows(2e-3, 1.0))


def varied():
    """Return a network with all kinds of state."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inner = keras.Sequential(
        [keras.Input((8,)), layers.Dense(8, "tanh")], name="inner"
    )
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            inner,
            layers.GaussianNoise(0.1),
            layers.Dense(3),
        ]
    )


@pytest.mark.long
@pytest.mark.parametrize("probe", [None, (X, Y)])
@pytest.mark.parametrize("make", [kbp.HybridOptimizer, keras.optimizers.Adam])
def test_monitored_training_has_the_same_bits(probe, make, improved_graphs):
    if probe is None and make is keras.optimizers.Adam:
        probe = (X[:4], Y[:4], np.ones(4))  # with weights of examples
    found = []
    for monitors in (
        [],
        [GradientMonitor(1, probe=probe), ActivationMonitor(X, 1)],
    ):
        model = varied()
        model.compile(make(0.01), "mse", metrics=["mae"])
        history = model.fit(
            X, Y, batch_size=8, epochs=3, verbose=0, callbacks=monitors
        )
        values = [v.numpy() for v in model.variables]
        found.append((values, history.history))
    (one, logs), (two, others) = found
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert logs == others
    assert "inner/" in " ".join(row["layer"] for row in monitors[0].history)


@pytest.mark.long
def test_saved_model_does_not_know_that_it_was_monitored(tmp_path):
    model = network("tanh")
    fitted(model, GradientMonitor(1))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    again.fit(X, Y, verbose=0)
    bare = network("tanh")
    bare.compile(kbp.HybridOptimizer(1e-3), "mse")
    bare.fit(X, Y, batch_size=8, verbose=0, shuffle=False)
    bare.fit(X, Y, verbose=0)
    for a, b in zip(again.get_weights(), bare.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_named_layers_alone_are_measured():
    model = network("tanh", "relu")
    monitor = GradientMonitor(layers=["last", "hidden1"])
    assert [r["layer"] for r in fitted(model, monitor).history][:2] == [
        "hidden1",
        "last",
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GradientMonitor(0), "`every` must be a whole number, 1 or"),
        (lambda: GradientMonitor(2.5), "`every` must be a whole number, 1 or"),
        (lambda: GradientMonitor(vanishing=1.0), "`vanishing` must be between"),
        (lambda: GradientMonitor(exploding=0.0), "`exploding` must be a posit"),
        (lambda: GradientMonitor(exploding=np.inf), "`exploding` must be a p"),
        (lambda: GradientMonitor(probe=3), r"`probe` must be examples \(x, y"),
        (lambda: GradientMonitor(layers="last"), "`layers` must be names of"),
        (lambda: GradientMonitor(layers=[]), "`layers` must be names of la"),
        (lambda: ActivationMonitor(X, 0), "`every` must be a whole number, 1"),
        (lambda: ActivationMonitor(3), "`probe` must be the inputs of some"),
        (lambda: ActivationMonitor(X[:0]), "`probe` must be the inputs of so"),
        (lambda: ActivationMonitor(X, dead=0.0), "`dead` must be between 0"),
        (lambda: ActivationMonitor(X, saturated=1.0), "`saturated` must be be"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("monitor", "optimizer", "message"),
    [
        (GradientMonitor(), "adam", "optimizer adam shows no gradients. Give"),
        (
            GradientMonitor(layers=["lost"]),
            None,
            "unknown 'lost'; did you mean 'last'",
        ),
        (ActivationMonitor(X, layers=["lost"]), None, "unknown 'lost'; did"),
        (ActivationMonitor(X[:, :3]), None, "`probe` does not fit model"),
        (
            GradientMonitor(probe=(X[:, :3], Y)),
            "adam",
            "`probe` does not fit model",
        ),
    ],
)
def test_what_does_not_fit_the_model_is_named(monitor, optimizer, message):
    model = network("tanh")
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        fitted(model, monitor, optimizer)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


SCRIPT = """
import keras, numpy as np, kbp
from kbp.diagnostics import ActivationMonitor, GradientMonitor
rng = np.random.default_rng(0)
x = rng.normal(size=(32, 4)).astype("float32")
y = rng.normal(size=(32, 3)).astype("float32")

def trained(optimizer, monitors):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8, "sigmoid") for _ in range(8)]
    model = keras.Sequential([keras.Input((4,)), *layers,
        keras.layers.BatchNormalization(), keras.layers.Dropout(0.5),
        keras.layers.Dense(3)])
    model.compile(optimizer, "mse")
    model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=monitors)
    return [np.asarray(v.value) for v in model.variables]

for make, probe in ((kbp.HybridOptimizer, None),
                    (keras.optimizers.Adam, (x, y))):
    said = []
    monitors = [GradientMonitor(3, probe=probe, say=said.append),
                ActivationMonitor(x, 3, say=said.append)]
    pairs = zip(trained(make(), []), trained(make(), monitors), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert {r["step"] for r in monitors[0].history} == {0, 3, 6}
    assert all(r["gradient_norm"] > 0 for r in monitors[0].history)
    assert "vanish with depth" in said[0], said
print("same")
"""


@pytest.mark.slow
def test_monitors_run_on_jax():
    pytest.importorskip("jax")
    assert fresh.python(SCRIPT, KERAS_BACKEND="jax").strip() == "same"
