"""Races are resumable, and tables say what was measured."""

import io
import json

import fresh
import pytest
from rich.console import Console

from kbp import zoo
from kbp.benchmarks import publish, recipe_race

TINY = [
    "training.epochs=1",
    "quantization.epochs=1",
    "export.benchmark_rounds=1",
    "data.image_size=8",
    "model.width=8",
    "model.num_scales=2",
    "training.batch_size=256",
]


def test_race_sums_up_and_runs_no_seed_twice(tmp_path):
    recipe = zoo.find(zoo.DEFAULT).recipe.with_settings(TINY)
    console = Console(file=io.StringIO())
    first = recipe_race.race(recipe, tmp_path, seeds=1, console=console)
    before = (tmp_path / "seed0" / "run.json").stat().st_mtime_ns
    results = recipe_race.race(recipe, tmp_path, seeds=2, console=console)
    assert (tmp_path / "seed0" / "run.json").stat().st_mtime_ns == before
    assert results == json.loads((tmp_path / "results.json").read_text())
    assert (first["runs"], results["runs"]) == (1, 2)
    accuracy = results["stages"][-1]["accuracy"]
    assert accuracy["mean"] == pytest.approx(sum(accuracy["values"]) / 2)
    assert first["stages"][0]["accuracy"]["deviation"] == 0
    table = recipe_race.markdown_table(results)
    assert "2 runs with different seeds" in table
    assert f"{accuracy['mean']:.2%} ± {accuracy['deviation']:.2%}" in table


def test_table_goes_between_its_marks():
    page = "a\n<!-- table: x -->\nold\n<!-- end of table -->\nb\n"
    assert publish.insert(page, "x", "new") == page.replace("old", "new")
    with pytest.raises(ValueError, match="no place for the table 'y'"):
        publish.insert(page, "y", "new")


@pytest.mark.parametrize("page", ["README.md", "models/README.md"])
def test_tables_of_the_pages_are_those_of_the_results(page):
    text = (fresh.ROOT / page).read_text()
    assert publish.render_page(text) == text


@pytest.mark.parametrize("entry", zoo.entries(), ids=lambda e: e.name)
def test_card_is_that_of_the_results(entry):
    results = publish.results_of(entry)
    assert results is not None
    card = (entry.path / "README.md").read_text()
    assert card == publish.render_card(entry, results)
