"""Keras's optimizers, and loss scaling, on several replicas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kbp.optimizers import (
    HybridOptimizer,
    LossScale,
    SynchronizedOptimizer,
)
from kbp.optimizers.synchronized import keras_optimizers
from kbp.training import checkpoint
from kbp.training.distribution import create_strategy

KINDS = sorted(kind.__name__ for kind in keras_optimizers().values())
STEPS = 50


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16 * STEPS, 6)).astype("float32")
    return x, rng.integers(0, 3, 16 * STEPS)


def fitted(optimizer, strategy=None, batch_size=16, steps=STEPS, **policy):
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(5, activation="tanh", **policy),
                layers.Dense(3, **policy),
                layers.Activation("linear", dtype="float32"),
            ]
        )
        model.compile(
            optimizer(),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
    batches = tf.data.Dataset.from_tensor_slices(data()).batch(batch_size)
    model.fit(batches.take(steps), shuffle=False, verbose=0)
    return model


def check_close(one, two, atol=1e-6):
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


@pytest.mark.long
@pytest.mark.parametrize("name", KINDS)
def test_rule_is_that_of_keras(name):
    kind, decay = getattr(keras.optimizers, name), {"weight_decay": 0.1}
    if name == "Muon":  # has two decays
        decay = {"weight_decay": 0.0, "adam_weight_decay": 0.0}
    peer = fitted(lambda: kind(0.003, **decay))
    decay.pop("adam_weight_decay", None)
    own = fitted(lambda: SynchronizedOptimizer(kind(), 0.003, **decay))
    check_close(own, peer)


@pytest.mark.long
@pytest.mark.parametrize("name", KINDS)
def test_replicas_of_keras_optimizers_are_one_device(name):
    def optimizer():
        inner = getattr(keras.optimizers, name)()
        return SynchronizedOptimizer(
            inner,
            0.003,
            weight_decay=0.1,
            global_clipnorm=0.05,
            gradient_accumulation_steps=2,
            use_ema=True,
            average_from=5,
        )

    one = fitted(optimizer)
    two = fitted(optimizer, create_strategy("mirrored"))
    check_close(one, two)
    assert checkpoint.steps_of(one.optimizer) == STEPS
    assert int(one.optimizer.inner.iterations) == STEPS // 2


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sgd", "nadam", "hybrid"])
def test_accumulated_steps_are_those_of_larger_batches(kind):
    def optimizer(steps=None):
        options = {"gradient_accumulation_steps": steps}
        if kind == "hybrid":
            return HybridOptimizer(0.003, **options)
        inner = keras.optimizers.get(kind)
        return SynchronizedOptimizer(inner, 0.003, **options)

    small = fitted(lambda: optimizer(4), batch_size=4)
    large = fitted(optimizer, batch_size=16, steps=STEPS // 4)
    check_close(large, small)


@pytest.mark.parametrize(
    "clip", [{"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"clipvalue": 0.1}]
)
def test_clipping_is_that_of_its_formula(clip):
    rng = np.random.default_rng(1)
    gradients = [rng.normal(size=shape) for shape in ((3, 4), (4,))]
    ((kind, limit),) = clip.items()
    norms = [np.sqrt(np.sum(g**2)) for g in gradients]
    whole = np.sqrt(np.sum(np.square(norms)))
    expected = {
        "clipnorm": [
            g * min(1, limit / n) for g, n in zip(gradients, norms, strict=True)
        ],
        "global_clipnorm": [g * min(1, limit / whole) for g in gradients],
        "clipvalue": [np.clip(g, -limit, limit) for g in gradients],
    }[kind]
    variables = [keras.Variable(np.zeros(g.shape)) for g in gradients]
    optimizer = SynchronizedOptimizer(keras.optimizers.SGD(), 1.0, **clip)
    optimizer.apply(
        [keras.ops.array(g, "float32") for g in gradients], variables
    )
    for variable, g in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), -g, atol=1e-6)


def test_tail_average_is_the_mean_of_the_last_weights():
    seen, weight = [], keras.Variable([1.0, -1.0])
    optimizer = HybridOptimizer(0.1, use_ema=True, average_from=3)
    for step in range(9):
        optimizer.apply([keras.ops.array([1.0, step - 4.0])], [weight])
        seen.append(weight.numpy().astype("float64"))
    optimizer.finalize_variable_values([weight])
    np.testing.assert_allclose(weight.numpy(), np.mean(seen[3:], 0), atol=1e-6)


@pytest.mark.long
def test_state_survives_saving_and_training_goes_on_the_same():
    def optimizer():
        inner = keras.optimizers.Nadam()
        return LossScale(
            SynchronizedOptimizer(inner, 0.003, clipnorm=0.1, use_ema=True)
        )

    model = fitted(optimizer)
    again, _ = checkpoint.from_bytes(checkpoint.to_bytes(model))
    assert type(again.optimizer.inner_optimizer.inner).__name__ == "Nadam"
    pairs = zip(
        model.optimizer.variables, again.optimizer.variables, strict=True
    )
    for a, b in pairs:
        np.testing.assert_array_equal(a.numpy(), b.numpy(), a.path)
    x, y = data()
    for each in (model, again):
        each.fit(x[:64], y[:64], shuffle=False, verbose=0)
    check_close(model, again, atol=0)


def overflowing(make):
    """Apply gradients of which some overflow; return the scale after each."""
    weight = keras.Variable([1.0])
    optimizer, scales = make(keras.optimizers.SGD(0.1)), []
    for value in (1.0, np.inf, 2.0, np.nan, 3.0, 4.0, 5.0, 6.0, np.inf, 1.0):
        scale = float(optimizer.dynamic_scale) if optimizer.built else 1.0
        optimizer.apply([keras.ops.array([value * scale])], [weight])
        scales.append(float(optimizer.dynamic_scale))
    return optimizer, scales, weight.numpy()


def test_loss_scale_is_that_of_keras():
    def own(inner):
        inner = SynchronizedOptimizer(inner, 0.1)
        return LossScale(inner, 8.0, dynamic_growth_steps=3)

    def of_keras(inner):
        return keras.optimizers.LossScaleOptimizer(inner, 8.0, 3)

    found, scales, weight = overflowing(own)
    _, expected, other = overflowing(of_keras)
    assert scales == expected
    np.testing.assert_allclose(weight, other, rtol=1e-6)
    assert found.skipped_steps == 3
    assert checkpoint.steps_of(found) == 10


@pytest.mark.long
def test_overflow_of_one_replica_is_one_of_all():
    def optimizer():
        return LossScale(
            SynchronizedOptimizer(
                keras.optimizers.SGD(), 0.003, max_skipped_steps=99
            ),
            2.0**40,
        )

    policy = {"dtype": "mixed_float16"}
    one = fitted(optimizer, **policy)
    two = fitted(optimizer, create_strategy("mirrored"), **policy)
    skipped = [m.optimizer.skipped_steps for m in (one, two)]
    # At the border, halves of a batch overflow later than the whole.
    assert 10 < min(skipped) <= max(skipped) <= min(skipped) + 1
    check_close(one, two, atol=2e-3)
    assert checkpoint.steps_of(one.optimizer) == STEPS
    copies = two.optimizer.dynamic_scale.value.values
    assert len({float(copy) for copy in copies}) == 1


@pytest.mark.parametrize("inner", ["adam", None])
def test_what_has_no_rule_is_refused(inner):
    with pytest.raises(ValueError, match="must be a Keras optimizer with"):
        SynchronizedOptimizer(inner)


def test_loss_scale_needs_an_optimizer_that_counts():
    with pytest.raises(ValueError, match="must be a HybridOptimizer or a"):
        LossScale(keras.optimizers.Adam())
