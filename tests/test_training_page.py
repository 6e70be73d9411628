"""docs/training.md names every key, its default, its range and its use."""

import dataclasses
import re
import tomllib

import fresh
import pytest

from kbp._utils.config import to_toml
from kbp.optimizers.schedules import SCHEDULES
from kbp.optimizers.synchronized import keras_optimizers
from kbp.recipes import Recipe
from kbp.recipes.monitor import MonitorRecipe
from kbp.recipes.optimizer import (
    AVERAGING,
    HYBRID,
    OF_OPTIMIZERS,
    OF_SCHEDULES,
    kind_of,
    usual,
)
from kbp.recipes.training import EarlyStopping, OptimizerRecipe, TrainingRecipe
from kbp.tasks.class_loss import ClassLossConfig
from kbp.tasks.forecasts.sections import ForecastLossConfig

PAGE = (fresh.ROOT / "docs" / "training.md").read_text()
SECTIONS = {
    "[optimizer]": OptimizerRecipe,
    "[training]": TrainingRecipe,
    "[monitor]": MonitorRecipe,
    "early_stopping": EarlyStopping,
    "[loss] of classes": ClassLossConfig,
    "[loss] of forecasts": ForecastLossConfig,
}
SIGNS = {"low": ">= ", "above": "> ", "high": "<= ", "below": "< "}


def rows(heading):
    """Return the cells of the table below a heading, by their first one."""
    text = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = re.findall(r"^\| `(.+?)` \| (.*) \|$", text, re.MULTILINE)
    return {name: rest.split(" | ") for name, rest in lines}


def limits(field):
    found = field.metadata
    if choices := found.get("choices"):
        return ", ".join(f"`{word}`" for word in choices)
    bounds = [
        f"{sign}{found[name]:g}"
        for name, sign in SIGNS.items()
        if found.get(name) is not None
    ]
    return ", ".join(bounds)


@pytest.mark.parametrize("heading", SECTIONS)
def test_page_has_each_key_with_its_default_and_range(heading):
    fields = {f.name: f for f in dataclasses.fields(SECTIONS[heading])}
    found = rows(heading)
    assert [*found] == [*fields]
    for name, field in fields.items():
        default, bounds, meaning = found[name]
        if field.default is None:
            assert default == "", name
        else:
            value = field.default
            value = list(value) if isinstance(value, tuple) else value
            assert default == f"`{to_toml(value)}`", name
        assert bounds == limits(field), name
        assert meaning, name


def written(keys):
    return ", ".join(f"`{key}` {to_toml(x)}" for key, x in keys.items())


def test_page_has_each_optimizer_with_its_keys():
    found = rows("Optimizers")
    assert [*found] == [HYBRID, *sorted(keras_optimizers())]
    for name, (keys,) in found.items():
        assert keys == written(usual(kind_of(name), OF_OPTIMIZERS)), name


def test_page_has_each_schedule_with_its_keys():
    found = rows("Schedules")
    assert [*found] == [*SCHEDULES]
    for name, (keys, meaning) in found.items():
        assert keys == written(usual(SCHEDULES[name], OF_SCHEDULES)), name
        assert meaning, name


def test_page_has_the_defaults_of_averages():
    for key, (kind, default) in AVERAGING.items():
        assert f"`{key}` ({to_toml(default)}) of `{kind}`" in PAGE


def test_recipes_of_the_page_are_recipes():
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    for block in blocks:
        Recipe.parse(tomllib.loads(block))
