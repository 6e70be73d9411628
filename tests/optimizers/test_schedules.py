"""Each schedule by its formula, in float64, at every step."""

import json
import math

import keras
import numpy as np
import pytest

from kbp.errors import UserError
from kbp.optimizers.schedules import SCHEDULES, Plateau, make_schedule

PEAK, STEPS, EPOCH = 0.3, 60, 6
# Each schedule with its options, and the rate `t` steps after the warm-up of
# a training that has `n` steps after it.
FORMULAS = {
    "cosine": ({}, lambda t, n: (1 + math.cos(math.pi * min(t / n, 1))) / 2),
    "cosine_restarts": (
        {"period": 1, "period_factor": 2.0, "peak_factor": 0.5},
        lambda t, n: restarted(t, EPOCH, 1.0),
    ),
    "step": (
        {"step_size": 2, "decay_rate": 0.5},
        lambda t, n: 0.5 ** (t // (2 * EPOCH)),
    ),
    "exponential": ({"decay_rate": 0.8}, lambda t, n: 0.8 ** (t / EPOCH)),
    "polynomial": (
        {"power": 2.0, "minimum_share": 0.1},
        lambda t, n: 0.1 + 0.9 * (1 - min(t / n, 1)) ** 2,
    ),
    "constant": ({}, lambda t, n: 1.0),
    "plateau": ({"patience": 3}, lambda t, n: 1.0),
}


def restarted(t, period, peak):
    if t >= period:
        return restarted(t - period, 2 * period, peak / 2)
    return peak * (1 + math.cos(math.pi * t / period)) / 2


def test_every_schedule_has_a_formula():
    assert {*FORMULAS} == {*SCHEDULES}


@pytest.mark.parametrize("warmup_steps", [0, 1, 7, STEPS - 1])
@pytest.mark.parametrize("name", FORMULAS)
def test_schedule_is_its_formula_at_every_step(name, warmup_steps):
    options, formula = FORMULAS[name]
    steps = {"steps": STEPS, "warmup_steps": warmup_steps, "epoch_steps": EPOCH}
    schedule = make_schedule(name, PEAK, **steps, **options)
    config = json.loads(
        json.dumps(keras.saving.serialize_keras_object(schedule))
    )
    again = keras.saving.deserialize_keras_object(config)
    for step in range(STEPS):
        expected = (
            PEAK * step / warmup_steps
            if step < warmup_steps
            else PEAK * formula(step - warmup_steps, STEPS - warmup_steps)
        )
        found = float(schedule(step))
        # A period that ends between two steps in float32 may end one later.
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6), step
        assert float(again(step)) == found


def losses(seed, count=60):
    """Losses that fall, stay, and rise again."""
    rng = np.random.default_rng(seed)
    falls = 1.0 / (1.0 + 0.2 * np.minimum(np.arange(count), 15))
    return falls + rng.normal(0, 0.02, count)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "options",
    [
        {"decay_rate": 0.5, "patience": 2},
        {"decay_rate": 0.1, "patience": 3, "cooldown": 4, "min_delta": 0.01},
        {
            "decay_rate": 0.3,
            "patience": 1,
            "cooldown": 1,
            "minimum_share": 0.02,
        },
    ],
)
def test_plateau_is_the_callback_of_keras(options, seed):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(PEAK), "mse")
    peer = keras.callbacks.ReduceLROnPlateau(
        factor=options["decay_rate"],
        patience=options["patience"],
        min_delta=options.get("min_delta", 1e-4),
        cooldown=options.get("cooldown", 0),
        min_lr=PEAK * options.get("minimum_share", 0),
    )
    peer.set_model(model)
    peer.on_train_begin()
    own = Plateau(PEAK, 0, **options)
    for epoch, loss in enumerate(losses(seed)):
        own.observe(loss)
        # State that goes through a file changes nothing.
        state = json.loads(json.dumps(own.state()))
        own = Plateau(PEAK, 0, **options)
        own.restore(state)
        peer.on_epoch_end(epoch, {"val_loss": loss})
        expected = float(model.optimizer.learning_rate)
        assert float(own(10)) == pytest.approx(expected, rel=1e-5), epoch
    assert float(own(10)) < PEAK


def test_unknown_schedule_is_named():
    with pytest.raises(UserError, match=r"'cosin'; did you mean 'cosine'\?"):
        make_schedule("cosin", 1, steps=1, warmup_steps=0, epoch_steps=1)
