"""`kbp benchmark input RECIPE`."""

import json

import pytest

from kbp.__main__ import main
from kbp.benchmarks.core.registry import find
from kbp.benchmarks.input.parts import measure
from kbp.errors import UserError
from kbp.recipes import Recipe

SMALL = (
    "[model]\nwidth = 2\nnum_scales = 2\n[data]\nname = 'digits'\n"
    "image_size = 8\n[augmentation]\nshift = 0.1\n"
)


def test_every_part_is_measured_and_shown(tmp_path, capsys):
    (tmp_path / "small.toml").write_text(SMALL)
    file = tmp_path / "input.jsonl"
    words = ["benchmark", "input", str(tmp_path / "small.toml")]
    assert main([*words, "--rounds", "2", "--results", str(file)]) == 0
    said = capsys.readouterr().out
    line = json.loads(file.read_text())
    names = ("reading", "augmentation", "all of the input", "training step")
    assert [*line["parts"]] == [*names, "training"]
    for name, part in line["parts"].items():
        assert name in said
        assert part["speed"] > 0
    assert line["parts"]["training step"]["ratio"] == 1
    assert 0 < line["waiting"] < 1
    benchmark = find("input")
    text = benchmark.markdown_table(benchmark.read(file))
    assert "| small | reading |" in text
    assert "waited for data" in text


def test_without_a_recipe_it_says_what_it_takes(capsys):
    assert main(["benchmark", "input"]) == 2
    assert "takes a recipe" in capsys.readouterr().err


def test_a_recipe_that_trains_nothing_is_refused():
    recipe = Recipe.parse(
        {
            "data": {"image_size": 8},
            "training": {"epochs": 0},
            "quantization": {"epochs": 0},
        }
    )
    with pytest.raises(UserError, match="trains nothing"):
        measure(recipe, 1)
