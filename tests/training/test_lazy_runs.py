"""Runs on examples that are read by index: those of examples in memory."""

import csv
import io
from dataclasses import replace

import keras
import numpy as np
import pytest
import quick
from lazily import Held, bytes_of, lazily
from rich.console import Console

from kbp import zoo
from kbp.data import lazy
from kbp.data.datasets import digits
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks.registry import TASKS
from kbp.tasks.scoring import scores
from kbp.training.runs import run_task

MOST = 256  # examples at once: a batch
CONSOLE = Console(file=io.StringIO(), width=120)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(lazy, "_CHUNK_BYTES", 100 * 64)


def classes():
    recipe = zoo.find(zoo.DEFAULT).recipe.with_settings(quick.SETTINGS)
    return recipe, bytes_of(digits.load(image_size=8)), ("inputs",)


def masks():
    settings = [x for x in quick.SETTINGS if not x.startswith("data.")]
    recipe = Recipe.parse(
        {
            "task": {"name": "segmentation"},
            "loss": {"balance": True},
            "augmentation": {"rotation": 20.0},
        }
    ).with_settings(settings)
    splits = digits.load(image_size=8)

    def part(examples):
        labels = (examples.inputs[..., 0] > 0.4).astype("int32")
        return replace(examples, labels=labels)

    splits = replace(
        splits,
        train=part(splits.train),
        validation=part(splits.validation),
        test=part(splits.test),
        class_names=("paper", "ink"),
    )
    return recipe, splits, ("inputs", "labels")


def make(recipe, splits):
    return lambda: TASKS[recipe.task.name](recipe, splits)


def texts(folder):
    """Return what a run leaves that no clock is in."""
    with (folder / "metrics.csv").open() as file:
        rows = [
            {**row, "seconds": "", "waiting": ""}
            for row in csv.DictReader(file)
        ]
    with np.load(folder / "golden.npz") as golden:
        outputs = {name: golden[name].tolist() for name in golden}
    return rows, outputs, (folder / "predictions.svg").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("case", [classes, masks])
def test_a_run_and_its_scores_are_those_of_examples_in_memory(tmp_path, case):
    recipe, splits, fields = case()
    few = lazily(splits, MOST, *fields)
    for name, held in (("memory", splits), ("lazy", few)):
        run_task(
            recipe,
            make(recipe, held),
            tmp_path / name,
            resume=False,
            console=CONSOLE,
        )
    assert texts(tmp_path / "lazy") == texts(tmp_path / "memory")
    for file in ("model.keras", "model_int8.tflite"):
        path = tmp_path / "lazy" / file
        found = [
            scores(path, make(recipe, held)())[0] for held in (splits, few)
        ]
        assert found[0] == found[1]


class Damaged(Held):
    """Examples of which one cannot be read at first."""

    whole = False

    def read(self, indices):
        if not self.whole and 5 in indices:
            raise UserError("5.png: cannot be read: it is damaged.")
        return super().read(indices)

    def digests(self):
        return [bytes([i // 256, i % 256]) for i in range(len(self))]


@pytest.mark.slow
def test_a_run_goes_on_when_a_damaged_example_is_mended(tmp_path):
    recipe, splits, _ = classes()
    inputs = Damaged(splits.train.inputs)
    damaged = replace(splits, train=replace(splits.train, inputs=inputs))
    arguments = recipe, make(recipe, damaged), tmp_path / "run"
    with pytest.raises(UserError, match="damaged") as error:
        run_task(*arguments, resume=False, console=CONSOLE)
    said = str(error.value)
    assert said.startswith("5.png: cannot be read: it is damaged. Mend it")
    assert "`resume=True`" in said
    assert len(said.splitlines()) == 1
    inputs.whole = True
    run_task(*arguments, resume=True, console=CONSOLE)
    run_task(
        recipe,
        make(recipe, splits),
        tmp_path / "other",
        resume=False,
        console=CONSOLE,
    )
    assert texts(tmp_path / "run") == texts(tmp_path / "other")
    assert keras.saving.load_model(tmp_path / "run" / "model.keras")
