"""`kbp benchmark input RECIPE`."""

import json
import threading
import time
import tomllib

import numpy as np
import pytest
import tensorflow as tf

from kbp.__main__ import main
from kbp.benchmarks.core.registry import find
from kbp.benchmarks.input import parts
from kbp.benchmarks.input.parts import measure
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import make_task

SMALL = (
    "[model]\nwidth = 2\nnum_scales = 2\n[data]\nname = 'digits'\n"
    "image_size = 8\n[augmentation]\nshift = 0.1\n"
)


@pytest.mark.slow
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


@pytest.mark.long
def test_the_transfer_to_a_device_is_a_part(monkeypatch):
    # A second CPU stands in for an accelerator.
    monkeypatch.setattr(parts, "accelerator", lambda: "CPU:1")
    monkeypatch.setattr(parts, "_TURN", 0.01)
    recipe = Recipe.parse(tomllib.loads(SMALL))
    found = measure(recipe, 1)["parts"]
    order = ["all of the input", "transfer", "training step"]
    assert [*found][2:5] == order
    assert found["transfer"]["speed"] > 0


@pytest.mark.long
def test_a_slow_input_is_as_slow_as_it_is(monkeypatch):
    # Batches made ready while other parts run would cost nothing. The lock
    # keeps tf.data from several at once on any number of cores.
    pause, lock = 0.15, threading.Lock()

    def wait(x):
        with lock:
            time.sleep(pause)
        return x

    def augment(x, y, seed):
        waited = tf.numpy_function(wait, [x], x.dtype)
        return tf.ensure_shape(waited, x.shape), y

    recipe = Recipe.parse(tomllib.loads(SMALL))
    task, seeds = type(make_task(recipe, None)), []

    def batches(self, *, seed, made=task.training_batches):
        seeds.append(seed)
        return made(self, seed=seed)

    monkeypatch.setattr(task, "training_batches", batches)
    monkeypatch.setattr(task, "augment", lambda self: augment)
    monkeypatch.setattr(parts, "_TURN", 0.5)
    found = measure(recipe, 2)
    most = 1.1 * found["batch_size"] / pause
    speeds = {name: part["speed"] for name, part in found["parts"].items()}
    for name in ("augmentation", "all of the input", "training"):
        assert speeds[name] < most
    assert speeds["reading"] > 2 * most
    step = found["batch_size"] / speeds["training step"]
    assert found["waiting"] > 0.9 * (1 - step / pause)
    # No turn reads the files that are in the cache since another.
    assert len({*seeds}) == len(seeds) == 1 + 2 * 3


def test_a_batch_that_is_sent_lies_on_the_device_unchanged():
    with tf.device("CPU:0"):
        batch = tf.range(6.0), {"a": tf.range(3)}
    sent = parts.send(batch, "CPU:1")
    for one, other in zip(*map(tf.nest.flatten, (batch, sent)), strict=True):
        assert one.device.endswith("CPU:0")
        assert other.device.endswith("CPU:1")
        np.testing.assert_array_equal(one, other)


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
