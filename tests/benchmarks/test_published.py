"""What is published equals what the results say, to the byte."""

import json
import re

import fresh
import matplotlib
import pytest

from kbp import zoo
from kbp.benchmarks.core import headlines, publish, registry
from kbp.benchmarks.core.published import PublishedFile
from kbp.benchmarks.core.race import Race
from kbp.benchmarks.distribution.soak import SOAK
from kbp.benchmarks.recipe import report
from kbp.benchmarks.recipe.cards import render_card
from kbp.benchmarks.recipe.race import results_of
from kbp.errors import UserError

PAGES = (
    *("README.md", "models/README.md", "docs/forecast_errors.md"),
    *("docs/images.md", "docs/records.md", "docs/runtimes.md"),
    *("docs/federated.md", "docs/recurrent.md", "docs/spiking.md"),
    *("docs/training.md", "docs/devices.md", "docs/recipes.md"),
    *("docs/results/forecasting.md", "docs/results/optimizers.md"),
    *("docs/results/pruning.md", "docs/results/quantization.md"),
    *("docs/results/segmentation.md", "docs/exactness.md"),
    *("docs/latency.md", "docs/ranges.md"),
)
PLOT = r"Matplotlib v([\d.]+)"


@pytest.mark.parametrize("page", PAGES)
def test_tables_of_the_pages_are_those_of_the_results(page):
    text = (fresh.ROOT / page).read_text()
    assert "<!-- table: " in text
    assert publish.render_page(text) == text


def test_every_mark_is_that_of_a_table():
    marks = {
        name
        for page in PAGES
        for name in re.findall(
            r"<!-- table: (.*) -->", (fresh.ROOT / page).read_text()
        )
    }
    tables = [table for x in registry.benchmarks() for table in x.tables()]
    assert marks
    assert marks <= {*tables, headlines.NAME}
    assert len(tables) == len({*tables})


@pytest.mark.parametrize("entry", zoo.entries(), ids=lambda e: e.name)
def test_card_is_that_of_the_results(entry):
    results = results_of(entry)
    assert results is not None
    card = (entry.path / "README.md").read_text()
    assert card == render_card(entry, report.markdown_table(results))


FILES = [
    x
    for x in registry.benchmarks()
    if isinstance(x, PublishedFile) and x.published.exists()
]
RACES = [x for x in FILES if isinstance(x, Race)]


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.name)
def test_plot_is_that_of_the_results(race):
    published = race.published.with_suffix(".svg").read_text()
    if re.search(PLOT, published)[1] != matplotlib.__version__:
        pytest.skip("another version of Matplotlib writes other paths")
    assert race.plot(*race.read(race.published)) == published


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("race", RACES, ids=lambda race: race.name)
def test_a_race_without_what_the_pages_say_is_not_published(
    race, count, tmp_path, monkeypatch
):
    if count and race.headline is None:
        pytest.skip("no page says more of it than its table")
    head, *results = race.published.read_text().splitlines(keepends=True)
    source, published = tmp_path / "runs.jsonl", tmp_path / "published.jsonl"
    source.write_text("".join([head, *results[:count]]))
    published.write_text("as it was")
    monkeypatch.setattr(PublishedFile, "published", published)
    with pytest.raises(UserError, match=r"runs\.jsonl: .* the race") as error:
        race.publish(race.name, source)
    assert "\n" not in str(error.value)
    assert published.read_text() == "as it was"


@pytest.mark.parametrize("benchmark", FILES, ids=lambda x: x.name)
def test_tables_name_all_versions_and_machines(benchmark):
    found = benchmark.read(benchmark.published)
    lines = found[1] if benchmark in RACES else found
    first = found[0] if benchmark in RACES else lines[0]
    lines[-1] = {
        **lines[-1],
        "versions": {**first["versions"], "tensorflow": "9.1", "keras": "8.2"},
        "machine": {"processor": "Other", "cores": 64},
    }
    text = benchmark.markdown_table(*found if benchmark in RACES else [found])
    assert re.search(r"TensorFlow 2\.\S* and 9\.1, Keras 3\.\S* and 8\.2", text)
    assert "64 cores (Other; " in text


IN_ROUNDS = [
    x for x in FILES if x not in RACES and "rounds" in x.read(x.published)[0]
]


@pytest.mark.parametrize("benchmark", IN_ROUNDS, ids=lambda x: x.name)
def test_tables_say_how_few_rounds_there_were(benchmark):
    lines = benchmark.read(benchmark.published)
    # The long run of devices has none.
    *_, last = [x for x in lines if x["case"] != SOAK]
    few = [{**x, "rounds": 3} if x is last else x for x in lines]
    text = benchmark.markdown_table(few)
    assert f" of 3 to {lines[0]['rounds']}" in text


@pytest.mark.parametrize("benchmark", FILES, ids=lambda x: x.name)
def test_what_was_renamed_or_removed_is_left_out(
    benchmark, tmp_path, monkeypatch
):
    table, content = benchmark.table(), benchmark.published.read_text()
    race = benchmark in RACES
    known = benchmark.competitors if race else benchmark.cases
    *_, last = map(json.loads, content.splitlines())
    gone = {
        k: f"{x}, gone" if isinstance(x, str) and x in known else x
        for k, x in last.items()
    }
    assert gone != last or "latency" in last
    file = tmp_path / benchmark.file_name
    file.write_text(f"{content}{json.dumps(gone)}\n")
    monkeypatch.setattr(PublishedFile, "published", file)
    assert benchmark.table() == table
    benchmark.write_figures()


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.name)
def test_of_one_seed_no_table_says_how_far_others_are(race):
    head, results = race.read(race.published)
    judged = [x for x in results if x.get("split", "test") == "test"]
    first = min(x["seed"] for x in judged if "seed" in x)
    # The folds of isbi2012 are several also of one seed.
    few = [
        x
        for x in results
        if x.get("seed", 0) <= first and x.get("data") != "isbi2012"
    ]
    protocol = {**head["protocol"], "seeds": 1}
    table = race.markdown_table({**head, "protocol": protocol}, few)
    rows = [x for x in table.splitlines() if x.startswith("| ")][2:]
    assert rows
    for row in rows:
        assert not re.search(r"±|s\.e\.|([+-]\S+) to \1", row)
