"""Losses by their names in recipes, against their formulas in float64."""

import keras
import numpy as np
import pytest

from kbp.errors import UserError
from kbp.losses import DiceCrossEntropy, Pinball
from kbp.recipes import Recipe
from kbp.tasks.class_loss import NAMED, ClassLossConfig, class_loss
from kbp.tasks.forecasts.sections import LOSSES

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 20)
LOGITS = RNG.normal(size=(20, 3)) * 2


def probabilities():
    powers = np.exp(LOGITS - LOGITS.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def soft(smoothing):
    return (1 - smoothing) * np.eye(3)[LABELS] + smoothing / 3


def expected(name, smoothing):
    p, y = probabilities(), soft(smoothing)
    if name == "dice":
        right = (p * y).sum(0) + 1
        extra, missing = (p * (1 - y)).sum(0), ((1 - p) * y).sum(0)
        dice = right / (right + 0.5 * extra + 0.5 * missing)
        return 1 - dice[1:].mean()
    entropy = -y * np.log(p)
    if name == "focal":
        entropy *= (1 - p) ** 2
    if name == "kl_divergence":
        entropy += y * np.log(np.maximum(y, 1e-300))
    return entropy.sum(axis=1).mean()


@pytest.mark.parametrize(
    ("name", "smoothing"),
    [
        (name, smoothing)
        for name in NAMED
        for smoothing in (0.0, 0.2)
        if name != "dice" or not smoothing
    ],
)
def test_loss_of_classes_is_its_formula(name, smoothing):
    loss = class_loss(ClassLossConfig(name=name), LABELS, 3, smoothing)
    again = type(loss).from_config(loss.get_config())
    for each in (loss, again):
        found = float(each(LABELS, LOGITS.astype("float32")))
        assert found == pytest.approx(expected(name, smoothing), rel=1e-5)


def test_smoothed_cross_entropy_is_that_of_keras():
    own = DiceCrossEntropy(dice_weight=0.0, label_smoothing=0.3)
    peer = keras.losses.CategoricalCrossentropy(True, label_smoothing=0.3)
    hard = np.eye(3, dtype="float32")[LABELS]
    logits = LOGITS.astype("float32")
    assert float(own(hard, logits)) == pytest.approx(float(peer(hard, logits)))


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("mse", lambda e: e**2),
        ("mae", np.abs),
        ("huber", lambda e: np.where(abs(e) <= 1, e**2 / 2, abs(e) - 0.5)),
        ("quantile", lambda e: np.maximum(0.9 * e, -0.1 * e)),
    ],
)
def test_loss_of_forecasts_is_its_formula(name, formula):
    options = {"quantile": 0.9} if LOSSES[name] is Pinball else {}
    y, p = RNG.normal(size=(2, 30, 4)) * 2
    found = float(LOSSES[name](**options)(y, p))
    assert found == pytest.approx(formula(y - p).mean(), rel=1e-5)


FORECAST = {"task": {"name": "forecasting"}, "data": {"name": "etth1"}}


def test_former_name_of_the_key_is_read_as_the_present_one():
    old, new = (
        Recipe.parse({**FORECAST, "loss": {key: "mae"}})
        for key in ("error", "name")
    )
    assert old == new
    assert 'name = "mae"' in old.to_toml()
    for key in ("error", "name"):
        changed = old.with_settings([f"loss.{key}=mse"])
        assert changed.task.sections["loss"].name == "mse"
    with pytest.raises(
        UserError, match=r"loss\.error is the former name of loss"
    ):
        Recipe.parse({**FORECAST, "loss": {"name": "mae", "error": "mse"}})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"name": "dice", "focal_gamma": 1.0},
            "loss.focal_gamma has no effect",
        ),
        (
            {"name": "focal", "dice_weight": 1.0},
            "loss.dice_weight has no effect",
        ),
        ({"alpha": 0.3}, "loss.alpha has no effect: loss.dice_weight is 0"),
        ({"name": "focal", "smooth": 0.3}, "loss.smooth has no effect"),
        (
            {
                "dice_weight": 1.0,
                "cross_entropy_weight": 0.0,
                "focal_gamma": 1.0,
            },
            "loss.focal_gamma has no effect",
        ),
        ({"cross_entropy_weight": 0.0}, "are both 0; one must be more"),
    ],
)
def test_key_without_effect_is_refused(values, message):
    with pytest.raises(UserError, match=message):
        class_loss(ClassLossConfig(**values), LABELS, 3)


def test_smoothing_without_cross_entropy_is_refused():
    with pytest.raises(UserError, match="label_smoothing has no effect"):
        class_loss(ClassLossConfig(name="dice"), LABELS, 3, 0.1)


def test_focal_loss_takes_the_gamma_that_is_given():
    y, logits = np.array([0, 2]), RNG.normal(size=(2, 3)).astype("float32")

    def of(**values):
        return float(
            class_loss(ClassLossConfig(**values), LABELS, 3)(y, logits)
        )

    assert of(name="focal", focal_gamma=0.0) == pytest.approx(of())
    assert of(name="focal") == pytest.approx(of(focal_gamma=2.0))
    assert of(name="focal") < of()


def test_unknown_loss_is_named():
    with pytest.raises(
        UserError, match=r"loss\.name: unknown 'foccal'; did you"
    ):
        Recipe.parse({"loss": {"name": "foccal"}})
