"""The command lists what recipes may say."""

import dataclasses
import tomllib

from kbp.__main__ import main
from kbp._utils.registry import Registry
from kbp.data.registry import DATASETS
from kbp.models.registry import MODELS
from kbp.recipes import reference
from kbp.recipes.sections import COMMON


def test_every_key_has_the_default_of_a_recipe_without_it():
    found = {section.title: section for section in reference.sections()}
    for name, kind in COMMON.items():
        given = dataclasses.asdict(kind())
        keys = {key.name: key for key in found[f"[{name}]"].keys}
        assert [*keys] == [*given]
        for key, value in given.items():
            said = keys[key].default
            held = tomllib.loads(f"x = {said}")["x"] if said else None
            assert held == (list(value) if isinstance(value, tuple) else value)


def test_all_that_is_registered_is_listed(capsys):
    assert main(["keys"]) == 0
    titles = capsys.readouterr().out.splitlines()
    assert titles == [section.title for section in reference.sections()]
    for name in DATASETS:
        assert f"[data] name = {name}" in titles
    for name in MODELS:
        assert f"[model] architecture = {name}" in titles


def test_a_section_is_shown_by_its_name_alone(capsys):
    assert main(["keys", "sparsity"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("[sparsity]\n")
    assert '"element", "channel"' in said
    assert said.count("default") == 1  # the table's heading
    assert main(["keys", "csv_series", "resnet"]) == 0
    said = capsys.readouterr().out
    assert "validation_fraction" in said
    assert "num_blocks" in said


def test_an_unknown_section_is_one_line(capsys):
    assert main(["keys", "sparsty"]) == 2
    said = capsys.readouterr().err
    assert "unknown section 'sparsty'; did you mean 'sparsity'?" in said


def test_the_keys_of_a_builder_of_ones_own_are_found(monkeypatch):
    mine = Registry("model.architecture", "kbp.models")

    def build(input_shape, num_outputs, *, width: int = 8, rate: float | None):
        """Build a net.

        More words.
        """

    mine.add("mine", build)
    monkeypatch.setattr(reference, "MODELS", mine)
    (found,) = (x for x in reference.sections() if x.title.endswith("= mine"))
    assert found.words == "Build a net."
    assert found.keys == (
        reference.Key("width", "integer", "8", ""),
        reference.Key("rate", "number", "required", ""),
    )
