"""The race of spiking networks."""

import dataclasses
import re

import keras
import numpy as np
import pytest

from kbp import data
from kbp.benchmarks.core.log import Log
from kbp.benchmarks.spiking import report
from kbp.benchmarks.spiking.plan import plan
from kbp.benchmarks.spiking.race import RACE
from kbp.benchmarks.spiking.trial import (
    CIFAR10,
    CONVERTED,
    DIGITS,
    ROUNDED,
    SOURCE,
    THROUGH_TIME,
    Protocol,
    Trainer,
    Trial,
)
from kbp.errors import UserError

TINY = Protocol(
    seeds=2,
    image_size=8,
    width=4,
    epochs=2,
    timesteps=(4, 32),
    rounded_timesteps=(4,),
    trained_timesteps=(4,),
    more_epochs=1,
    images=8,
)


def test_source_networks_come_before_what_is_made_of_them():
    groups = [*plan([DIGITS, CIFAR10], TINY, [])]
    methods = [{(x.data, x.method) for x in group} for group in groups]
    assert methods == [
        {(DIGITS, SOURCE)},
        {(DIGITS, CONVERTED), (DIGITS, ROUNDED), (DIGITS, THROUGH_TIME)},
        {(CIFAR10, SOURCE)},
        {(CIFAR10, CONVERTED), (CIFAR10, ROUNDED)},
    ]
    assert len(groups[1]) == 2 * 4


@pytest.mark.slow
def test_trials_of_a_seed_share_the_source_network(tmp_path):
    trainer = Trainer(TINY, None, tmp_path)
    source = trainer.run(Trial(DIGITS, SOURCE, 0, 1))
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    long = trainer.run(Trial(DIGITS, CONVERTED, 32, 1))
    assert file.read_bytes() == content
    assert abs(long["accuracy"] - source["accuracy"]) < 0.15
    for method in (ROUNDED, THROUGH_TIME):
        found = trainer.run(Trial(DIGITS, method, 4, 1))
        assert 0 < found["spikes"] < long["spikes"]
        assert found["energy"] == pytest.approx(
            4.6e-12 * found["multiply_adds"] + 0.9e-12 * found["additions"]
        )
        assert found["dense_energy"] == pytest.approx(long["dense_energy"])
        assert found["images"] == len(trainer.splits[DIGITS][1].inputs)


@pytest.mark.long
def test_dense_networks_of_cifar10_are_those_of_another_race(
    tmp_path, monkeypatch
):
    protocol = dataclasses.replace(TINY, batch_size=10)
    trainer = Trainer(protocol, None, tmp_path / "spiking.files")
    with pytest.raises(UserError, match="benchmark pruning-trained") as error:
        trainer.run(Trial(CIFAR10, SOURCE, 0, 0))
    assert "dense-1.keras: missing" in str(error.value)
    place = tmp_path / "pruning_trained.files"
    place.mkdir()
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    x = keras.layers.Dense(10)(keras.layers.Flatten()(x))
    keras.Model(inputs, x).save(place / "dense-1.keras")
    rng = np.random.default_rng(0)
    images = rng.normal(size=(20, 4, 4, 3)).astype("float32")
    held = data.Examples(images, np.arange(20) % 10)
    monkeypatch.setitem(trainer.splits, CIFAR10, (held, held))
    found = trainer.run(Trial(CIFAR10, CONVERTED, 64, 0))
    source = trainer.run(Trial(CIFAR10, SOURCE, 0, 0))
    assert abs(found["accuracy"] - source["accuracy"]) <= 0.1
    trained = trainer.run(Trial(CIFAR10, ROUNDED, 8, 0))
    assert 0 < trained["spikes"] < found["spikes"]


def result(trial, accuracy):
    made = {"accuracy": accuracy, **vars(trial)}
    if trial.method != SOURCE:
        made |= {
            "images": 5678,
            "spikes": 1234.0,
            "additions": 2_500_000.0,
            "multiply_adds": 1000.0,
            "energy": 3e-6,
            "dense_energy": 9e-6,
        }
    return made


@pytest.fixture
def log(tmp_path):
    found = Log(tmp_path / "spiking.jsonl", TINY)
    for group in plan([DIGITS], TINY, []):
        for trial in group:
            lost = 0.0 if trial.method == SOURCE else 0.02 * (trial.seed + 1)
            found.add(result(trial, 0.98 - lost))
    return found


def test_the_table_compares_seed_by_seed(log):
    text = report.markdown_table(log.head, log.results)
    (row,) = re.findall(r"\| digits \| converted \| 4 .*", text)
    for cell in (
        *("95.00% ± 1.41%", "-3.00 ± 1.41", "1,234", "2.50 M"),
        *("3.00 \N{MICRO SIGN}J", "9.00 \N{MICRO SIGN}J"),
    ):
        assert f"| {cell} |" in row
    assert "| digits | source | - | 98.00% ± 0.00% | - |" in text
    assert "CIFAR-10 |" not in text
    assert "Sengupta" in text
    assert "in the mean of test images (5,678 of digits)" in text
    assert report.plot(log.head, log.results).startswith("<svg")
    empty = report.markdown_table(log.head, [])
    assert empty == "No network has finished yet."


def test_a_race_leaves_its_results_and_a_figure(tmp_path, monkeypatch, log):
    read, results = RACE.read(log.file)
    assert read["protocol"]["width"] == TINY.width
    assert len(results) == len(log.results)
    assert "digits, source, 0 steps, seed 0" in RACE.describe(results[0])
