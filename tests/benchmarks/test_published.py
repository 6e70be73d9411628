"""What is published equals what the results say, to the byte."""

import re

import fresh
import matplotlib
import pytest

from kbp import zoo
from kbp.benchmarks.core import publish

PLOT = r"Matplotlib v([\d.]+)"


@pytest.mark.parametrize("page", ["README.md", "models/README.md"])
def test_tables_of_the_pages_are_those_of_the_results(page):
    text = (fresh.ROOT / page).read_text()
    assert "<!-- table: " in text
    assert publish.render_page(text) == text


@pytest.mark.parametrize("entry", zoo.entries(), ids=lambda e: e.name)
def test_card_is_that_of_the_results(entry):
    results = publish.results_of(entry)
    assert results is not None
    card = (entry.path / "README.md").read_text()
    assert card == publish.render_card(entry, results)


@pytest.mark.parametrize("name", publish.RACES)
def test_plot_is_that_of_the_results(name):
    race, report = publish.RACES[name]
    published = race.RESULTS.with_suffix(".svg").read_text()
    if re.search(PLOT, published)[1] != matplotlib.__version__:
        pytest.skip("another version of Matplotlib writes other paths")
    assert report.plot(*race.read(race.RESULTS)) == published
