"""Recipes with values that nobody should choose are one line, or harmless."""

import dataclasses
import math
import types
import typing

import pytest

from kbp._utils.config import without_none
from kbp.data.registry import DATASETS
from kbp.errors import UserError
from kbp.models.registry import (
    GIVEN,
    MODELS,
    keyword_only,
    runs_in_float,
)
from kbp.recipes import Recipe
from kbp.recipes.recipe import COMMON
from kbp.recipes.registered import ModelRecipe
from kbp.tasks.registry import TASKS

WRONG = {
    "huge": 10**26,
    "huge, in 63 bits": 2**63 - 1,
    "huge, negative": -(10**26),
    "of many digits": 1 << 200_000,
    "negative": -1,
    "not a number": math.nan,
    "infinite": math.inf,
    "infinite, negative": -math.inf,
    "tiny": 5e-324,
    "large": 1e308,
    "true": True,
    "text": "x" * 100_000,
    "zero byte": "\0",
    "list": [[]],
    "nested": [{"a": [1]}],
    "table": {"a": 1},
    "none": None,
}
SECTIONS = [
    *((name, {}, kind) for name, kind in COMMON.items()),
    *(
        ("data", {"data": {"name": name}}, DATASETS[name].config)
        for name in DATASETS
    ),
    *(
        (section, {"task": {"name": name}}, kind)
        for name in TASKS
        for section, kind in TASKS[name].sections.items()
    ),
]


def fields():
    """Yield the section of each field, what chooses it, its name and type."""
    for section, chosen, kind in SECTIONS:
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            yield section, chosen, field, without_none(hints[field.name])


def attempt(sections):
    """Return a recipe, or the one line that refuses it."""
    try:
        return Recipe.parse(sections), ""
    except UserError as error:
        words = str(error)
    assert "\n" not in words
    assert len(words) < 2000
    return None, words


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_every_field_takes_only_what_is_harmless(wrong):
    for section, chosen, field, hint in fields():
        values = {**chosen.get(section, {}), field.name: wrong}
        recipe, words = attempt({**chosen, section: values})
        if recipe is None:
            assert f"{section}.{field.name}" in words or "missing" in words
            continue
        if hint in (int, float):
            assert type(wrong) is not bool
            assert abs(wrong) <= 1e12, (section, field.name)
        else:
            assert isinstance(wrong, hint if hint in (bool, str) else list)


def test_every_number_has_a_least_and_a_largest_value():
    for section, _, field, hint in fields():
        if hint not in (int, float):
            continue
        limits = field.metadata
        low = [limits.get("low"), limits.get("above")]
        high = [limits.get("high"), limits.get("below")]
        for bounds in (low, high):
            assert any(x is not None for x in bounds), (section, field.name)


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_every_argument_of_an_architecture_is_checked(wrong):
    for name in MODELS:
        builder = MODELS[name]
        hints = typing.get_type_hints(builder)
        for key in [k for k in keyword_only(builder) if k not in GIVEN]:
            hint = hints[key]
            kinds = (
                typing.get_args(hint)
                if isinstance(hint, types.UnionType)
                else (hint,)
            )
            values = {"architecture": name, key: wrong}
            eight_bits = {"enabled": not runs_in_float(name)}
            recipe, words = attempt(
                {"model": values, "quantization": eight_bits}
            )
            if recipe is None:
                assert f"model.{key}" in words
            else:
                assert type(wrong) in kinds or float in kinds, (name, key)
                assert wrong == wrong


@pytest.mark.parametrize(
    ("architecture", "shape", "arguments"),
    [
        ("pyramid_bpnet", (8, 8, 1), {"width": 1_000_000}),
        ("pyramid_bpnet", (8, 8, 1), {"width": 2**31 - 1}),
        ("pyramid_bpnet", (8, 8, 1), {"num_scales": 2**31 - 1}),
        ("pyramid_bpnet", (8, 8, 1), {"patch_size": 2**31 - 1}),
        ("residual_mlp", (4,), {"width": 1_000_000}),
        ("bp_transformer", (24, 2), {"width": 1_000_000, "num_heads": 1}),
        ("bp_transformer", (24, 2), {"num_heads": 100_000_000}),
        ("bp_transformer", (24, 2), {"patch_size": 2**31 - 1}),
    ],
)
def test_models_larger_than_the_memory_are_refused(
    architecture, shape, arguments
):
    recipe = ModelRecipe.parse({"architecture": architecture, **arguments})
    with pytest.raises(UserError, match=r"\[model\] \w+") as error:
        recipe.build(shape, 3)
    assert "\n" not in str(error.value)
    names = [*arguments, "input_shape"]
    assert any(name in str(error.value) for name in names)


FILES = {
    "nested lists": b"[model]\nwidth = " + b"[" * 5000 + b"]" * 5000,
    "nested tables": b"[model]\nwidth = " + b"{a=" * 5000 + b"1" + b"}" * 5000,
    "dotted keys": b"[model]\n" + b"a." * 5000 + b"a = 1",
    "dotted section": b"[model" + b".a" * 5000 + b"]",
    "long": b"#" * 1_000_001,
    "not UTF-8": b"[model]\n# \xff\xfe",
    "twice a key": b"[training]\nepochs = 1\nepochs = 2",
    "twice a section": b"[training]\n[model]\n[training]",
    "many digits": b"[training]\nepochs = " + b"9" * 100_000,
    "many digits of 16": b"[training]\nepochs = 0x" + b"f" * 100_000,
    "many digits of a float": b"[optimizer]\nlearning_rate = 1e" + b"9" * 9999,
    "a line in a key": b'[training]\n"a\\nb" = 1',
    "a long key": b"[training]\n" + b"k" * 100_000 + b" = 1",
    "a date": b"[training]\nepochs = 2020-01-01",
    "a zero byte": b'[data]\nname = "csv_table"\nfile = "\\u0000"',
    "no dates": b"[training]\nepochs = 2020-99-99",
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_files_that_are_no_recipes_are_one_line(content, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"recipe\.toml: ") as error:
        Recipe.read(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 2500


@pytest.mark.parametrize(
    "setting",
    [
        "training.epochs=99999999999999999999999999",
        "training.epochs=" + "9" * 5000,
        "training.epochs=0x" + "f" * 5000,
        "training.epochs=" + "[" * 5000 + "]" * 5000,
        "training.epochs=" + "{a=" * 5000,
        "training.epochs=1\nseed = 2",
    ],
)
def test_settings_are_checked_likewise(setting):
    with pytest.raises(UserError, match=r"training\.epochs|TOML|setting"):
        Recipe().with_settings([setting])
