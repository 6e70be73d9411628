"""The race of segmentation networks."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from kbp import export, models
from kbp.__main__ import main
from kbp.benchmarks.core import registry
from kbp.benchmarks.core.latencies import timed_on
from kbp.benchmarks.core.log import Log, provenance
from kbp.benchmarks.segmentation import report as report
from kbp.benchmarks.segmentation.networks import unet_plus_plus
from kbp.benchmarks.segmentation.plan import trials
from kbp.benchmarks.segmentation.race import RACE
from kbp.benchmarks.segmentation.trial import (
    FOLDS,
    NETWORKS,
    Network,
    Protocol,
    Trainer,
    Trial,
)
from kbp.data import Examples, Splits

TINY = Protocol(crop_size=16, batch_size=2, steps=3, seeds=2)


@pytest.fixture
def sets(monkeypatch):
    """Bright squares in both sets' place."""
    rng = np.random.default_rng(0)
    masks = np.zeros((12, 32, 32), "int32")
    for mask in masks:
        y, x = rng.integers(4, 20, 2)
        mask[y : y + 8, x : x + 8] = 1
    images = (
        masks[..., None] * 0.5 + rng.random((*masks.shape, 1)) * 0.3
    ).astype("float32")
    parts = [
        Examples(images[i:j], masks[i:j])
        for i, j in ((0, 8), (8, 10), (10, 12))
    ]
    splits = Splits(*parts, class_names=("ground", "square"))
    for name in ("dsb2018", "isbi2012"):
        monkeypatch.setattr(
            f"kbp.benchmarks.segmentation.trial.{name}.load",
            lambda data_dir, fold=0: splits,
        )


@pytest.fixture
def small(monkeypatch):
    """A small Pyramid-BPNet in the race's place."""
    network = Network(
        lambda shape, classes: models.PyramidBPNet(
            shape, classes, head="segmentation", width=8
        )
    )
    monkeypatch.setitem(NETWORKS, "Pyramid-BPNet", network)


@pytest.mark.slow
@pytest.mark.usefixtures("sets", "small")
def test_a_trial_is_judged_on_whole_images(tmp_path):
    trainer = Trainer(TINY, None, tmp_path)
    result = trainer.run(Trial("Pyramid-BPNet", "isbi2012", 1))
    assert json.loads(json.dumps(result)) == result
    assert len(result["dice"]) == len(result["iou"]) == 2
    for dice, iou in zip(result["dice"], result["iou"], strict=True):
        assert iou == pytest.approx(dice / (2 - dice), abs=1e-6)
    assert 0 <= result["pooled"] <= 1
    assert result["step_seconds"] > 0
    for dtype, exported in result["files"].items():
        runner = export.Runner(tmp_path / exported["name"])
        assert runner.shapes.popitem()[1] == (32, 32, 1)
        assert exported["dice"] == pytest.approx(
            result["dice"], abs=1e-3 if dtype == "float32" else 0.2
        )


@pytest.mark.usefixtures("sets", "small")
@pytest.mark.slow
def test_files_of_an_earlier_day_are_made_again_to_be_timed(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(FOLDS, "isbi2012", 1)
    file = tmp_path / "race.jsonl"
    log = Log(file, TINY)
    for trial in trials("Pyramid-BPNet", TINY):
        log.add(result_of("ours", trial, [0.5]))
    names = [f["name"] for r in log.results for f in r["files"].values()]
    results = RACE.run(file, protocol=TINY, names=["Pyramid-BPNet"], rounds=1)
    assert set(results[-1]["latency"]) == {*names}
    for name in names:
        runner = export.Runner(tmp_path / "race.files" / name)
        assert runner.shapes.popitem()[1] == (32, 32, 1)


@pytest.mark.long
@pytest.mark.parametrize(
    ("build", "millions"),
    [
        # Published are 31.0; 34.9, where 3x3 convolutions of enlarged maps
        # take the place of 2x2 transposed ones; and, at half the width, 9.0.
        (lambda: models.UNet((32, 32, 1), 2, width=64), 31.04),
        (lambda: models.UNet((32, 32, 1), 2, width=64, gates=True), 31.4),
        (lambda: unet_plus_plus((32, 32, 1), 2, width=32), 9.05),
    ],
)
def test_peers_are_as_large_as_the_papers_layers(build, millions):
    model = build()
    assert model.output_shape == (None, 32, 32, 2)
    assert model.count_params() / 1e6 == pytest.approx(millions, rel=0.02)


def result_of(network, trial, dice, seconds=0.1):
    files = {
        dtype: {"name": f"{network}{trial.data}{trial.seed}{dtype}", "bytes": 9}
        | {"dice": dice}
        for dtype in ("float32", "int8")
    }
    figures = {"iou": dice, "pooled": 0.7, "parameters": 5e4}
    figures |= {"multiply_adds": 3e9, "step_seconds": seconds, "commit": "c"}
    return {**asdict(trial), **figures, "dice": dice, "files": files}


def test_table_pairs_images(tmp_path):
    log = Log(tmp_path / "race.jsonl", TINY)
    results = []
    rng = np.random.default_rng(0)
    base = {s: rng.uniform(0.5, 0.9, 6).tolist() for s in range(5)}
    for network, less in (("Pyramid-BPNet", 0.0), ("U-Net 16", 0.05)):
        for trial in trials(network, TINY):
            noise = rng.normal(0, 0.001, 6)
            dice = (np.array(base[trial.seed]) - less + noise).tolist()
            results.append(result_of(network, trial, dice))
    rows = report.summarize(log.head, results)
    assert [*rows] == ["dsb2018", "isbi2012"]
    assert rows["dsb2018"]["U-Net 16"]["dice"].shape == (2,)  # seeds
    assert rows["isbi2012"]["U-Net 16"]["dice"].shape == (5,)  # folds
    table = report.markdown_table(log.head, results)
    assert "| **dsb2018: Pyramid-BPNet** |" in table
    assert "| +4." in table  # the interval's lower end, near 5 points
    assert "U-Net 32" not in table.split("All networks")[0]
    files = [f["name"] for r in results for f in r["files"].values()]
    timed = {
        "latency": {name: [1.0, 2.0, 3.0] for name in files},
        "commit": "c",
    }
    assert "2.00 ms (1.00x)" in report.markdown_table(
        log.head, [*results, timed]
    )
    assert "U-Net 16" in report.plot(log.head, results)
    # What has not finished is not there.
    rows = report.summarize(log.head, results[:-1])
    assert [*rows["isbi2012"]] == ["Pyramid-BPNet"]
    assert report.markdown_table(log.head, []) == "No network has finished yet."


def test_other_machines_are_named(tmp_path, monkeypatch):
    first = Log(tmp_path / "race.jsonl", TINY)
    first.add({"n": 1})
    other = {"processor": "Other", "cores": 64}
    monkeypatch.setattr("kbp.benchmarks.core.log.machine", lambda: other)
    log = Log(tmp_path / "race.jsonl", TINY)
    log.add({"n": 2})
    assert [r.get("machine") for r in log.results] == [None, other]
    assert timed_on(log.head, log.results).startswith(name_of(first))
    log.add({"latency": {}})
    assert timed_on(log.head, log.results) == (
        "Other (instruction sets unknown)"
    )
    said = provenance(log.head, log.results)
    assert f"cores ({name_of(first)}; " in said
    assert " and 64 cores (Other; instruction sets unknown), " in said


def name_of(log):
    return log.head["machine"]["processor"]


def test_interval_is_students():
    rng = np.random.default_rng(0)
    low, high = report.interval(rng.normal(1, 1, 10000))
    assert (low + high) / 2 == pytest.approx(1, abs=0.03)
    assert high - low == pytest.approx(2 * 1.96 / 100, rel=0.03)
    assert report.interval(np.full(3, 0.5)) == (0.5, 0.5)


def test_wrong_name_and_missing_data_are_named(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KBP_DATA", raising=False)
    assert main(["benchmark", "segmentation", "UNet"]) == 2
    assert "unknown network 'UNet'" in capsys.readouterr().err
    assert main(["benchmark", "segmentation"]) == 2
    assert "DSB-2018 needs a data directory" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert set(registry.names()) >= {"segmentation"}
