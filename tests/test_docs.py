"""The examples of the documentation run, and its tables say what is there."""

import re
import tomllib

import fresh
import pytest

from kbp.recipes import Recipe

CONTRIBUTING = (fresh.ROOT / "docs" / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", CONTRIBUTING, re.DOTALL)
USE = """
import keras
from kbp import sparsity
from kbp.benchmarks.optimizers.contestants import CONTESTANTS
from kbp.recipes import Recipe
from kbp.tasks import make_task

task = make_task(Recipe.parse(
    {"model": {"architecture": "perceptron"}, "data": {"name": "plane"}}
))
assert task.name == "level"
assert task.build().output_shape == (None, 1)
assert peer.learning_rates in {c.learning_rates for c in CONTESTANTS.values()}

inputs = keras.Input((6,))
outputs = keras.layers.Dense(2)(Linear(5)(Linear(4)(inputs)))
model = keras.Model(inputs, outputs)
masked = [x.name for x in sparsity.masked_layers(sparsity.apply_dtm(model))]
assert masked == [model.layers[2].name], masked
"""


def test_examples_of_contributing_run():
    assert len(BLOCKS) == 6
    fresh.python("\n".join([*BLOCKS, USE]))


DOCS = fresh.ROOT / "docs"


@pytest.mark.parametrize(
    "page", sorted(str(x.relative_to(DOCS)) for x in DOCS.rglob("*.md"))
)
def test_links_of_the_docs_lead_somewhere(page):
    path = DOCS / page
    for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / link).exists(), link


@pytest.mark.parametrize("page", ["masks", "series"])
def test_recipes_of_guides_are_recipes(page):
    text = (DOCS / f"{page}.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        Recipe.parse(tomllib.loads(block))


def test_files_that_contributing_names_exist():
    for name in re.findall(r"`((?:kbp|tests)/[\w/.]+)`", CONTRIBUTING):
        assert (fresh.ROOT / name).exists(), name


def test_glossary_has_at_most_thirty_terms_in_order():
    text = (fresh.ROOT / "docs" / "GLOSSARY.md").read_text()
    terms = re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE)[2:]
    assert len(terms) <= 30
    assert terms == sorted(terms, key=str.lower)
