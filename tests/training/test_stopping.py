"""Trainings that are stopped or killed go on as if nothing had been."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import small
from rich.console import Console
from workers import finish as finish_workers

from kbp import training
from kbp._utils.files import remove_unfinished
from kbp._utils.process.stopping import Stopping
from kbp.benchmarks.distribution.workers import start_workers
from kbp.recipes import Recipe
from kbp.training import callbacks, divergence
from kbp.training.checkpoint import Checkpoints
from kbp.training.divergence import first_not_finite

FILES = (
    "model.keras",
    "model_quantized.keras",
    "model_float32.tflite",
    "model_int8.tflite",
    "golden.npz",
)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A forecast with masks and dropout, of 13 steps an epoch."""
    rng = np.random.default_rng(0)
    values = np.sin(np.arange(120) / 3) + 0.1 * rng.normal(size=120)
    file = tmp_path_factory.mktemp("data") / "wave.csv"
    file.write_text("\n".join(["value", *map(str, values)]) + "\n")
    return Recipe.parse(
        {
            "model": {
                "architecture": "bp_transformer",
                "num_layers": 1,
                "width": 8,
                "num_heads": 1,
                "patch_size": 4,
                "dropout": 0.2,
            },
            "data": {
                "name": "csv_series",
                "file": str(file),
                "lookback": 16,
                "horizon": 4,
                "validation_fraction": 0.2,
            },
            "sparsity": {"target": 0.5},
            "training": {"epochs": 3, "batch_size": 4},
            "quantization": {"epochs": 2},
            "export": {"benchmark_rounds": 1},
        }
    )


def run(recipe, folder, resume=False):
    # As in a process of its own: operations are numbered from the start.
    keras.utils.clear_session(free_memory=False)
    console = Console(file=io.StringIO(), width=120)
    training.run(recipe, folder, console=console, resume=resume)


@pytest.fixture(scope="module")
def undisturbed(recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    run(recipe, folder)
    return folder


def check_equal(folder, other, files=FILES):
    for name in files:
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name
    tables = [
        callbacks.read_metrics(f / "metrics.csv") for f in (folder, other)
    ]
    for row in (row for rows in tables for row in rows):
        del row["seconds"]
        row.pop("waiting", None)  # workers have none
    assert tables[0] == tables[1]


@pytest.mark.parametrize(
    ("hook", "count"),
    [
        # within the first epoch
        pytest.param("on_train_batch_end", 5, marks=pytest.mark.slow),
        # the last step of the second
        pytest.param("on_train_batch_end", 26, marks=pytest.mark.slow),
        # while it quantizes
        pytest.param("on_train_batch_end", 50, marks=pytest.mark.slow),
        pytest.param("on_test_batch_end", 2, marks=pytest.mark.slow),
    ],
)
def test_stop_goes_on_where_it_was(
    hook, count, recipe, undisturbed, tmp_path, monkeypatch
):
    small.stop_in(monkeypatch, hook, (count,))
    with pytest.raises(SystemExit) as error:
        run(recipe, tmp_path / "run")
    assert error.value.code == 143
    monkeypatch.undo()
    run(recipe, tmp_path / "run", resume=True)
    check_equal(tmp_path / "run", undisturbed)


@pytest.mark.slow
def test_stop_of_replicas_goes_on_where_it_was(recipe, tmp_path, monkeypatch):
    mirrored = recipe.with_settings(["training.strategy=mirrored"])
    run(mirrored, tmp_path / "undisturbed")
    with monkeypatch.context() as patch:
        small.stop_in(patch, "on_train_batch_end", (18,))
        with pytest.raises(SystemExit):
            run(mirrored, tmp_path / "run")
    run(mirrored, tmp_path / "run", resume=True)
    # Names of operations count on within this process, so bytes differ.
    check_equal(tmp_path / "run", tmp_path / "undisturbed", ["golden.npz"])


def test_stop_with_nothing_to_save_is_immediate():
    with Stopping() as stop, pytest.raises(SystemExit) as error:
        signal.raise_signal(signal.SIGTERM)
    assert error.value.code == 143
    with Stopping() as stop:
        stop.unsaved = True
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested


def test_stop_within_c_code_is_no_fault():
    def fail():
        raise SystemError

    def stop():
        try:
            signal.raise_signal(signal.SIGTERM)
        except SystemExit:
            fail()

    with pytest.raises(SystemError), Stopping():
        fail()
    with pytest.raises(SystemExit) as error, Stopping():
        stop()
    assert error.value.code == 143


COMMAND = ("-c", "import sys; from kbp.__main__ import main; sys.exit(main())")


def start(recipe, folder):
    """Begin or resume a run in a process of its own."""
    file = folder.with_suffix(".toml")
    file.write_text(recipe.to_toml())
    words = ["train", file, "--workdir", folder, "--resume"]
    with folder.with_suffix(".log").open("w") as said:
        return subprocess.Popen(
            [sys.executable, *COMMAND, *map(str, words)],
            stdout=said,
            stderr=said,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )


def wait_for(folder, pattern, process, seconds=120):
    """Wait until a run has written something, or has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if any(folder.glob(pattern)):
            return
        time.sleep(0.05)
    finish(folder, process)


def finish(folder, process):
    """Wait for the end, which must be a good one."""
    status = process.wait(300)
    assert status == 0, folder.with_suffix(".log").read_text()[-2000:]


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    """What a process of its own leaves, in which graphs are improved."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    finish(folder, start(recipe, folder))
    return folder


def kill_at_random(recipe, folder, finished, times):
    """Kill a run so many times, or what goes on with it, then let it finish."""
    rng = np.random.default_rng(times)
    for _ in range(times):
        process = start(recipe, folder)
        wait_for(folder, ".lock", process)
        time.sleep(rng.uniform(0, 10))
        process.kill()
        process.wait()
    finish(folder, start(recipe, folder))
    check_equal(folder, finished)


@pytest.mark.long
def test_stopped_and_killed_run_loses_nothing(recipe, finished, tmp_path):
    folder = tmp_path / "run"
    process = start(recipe, folder)
    wait_for(folder, "checkpoints/train-*.keras", process)
    process.send_signal(signal.SIGTERM)
    # Under 5 s where nothing else runs.
    assert process.wait(30) == 143
    kill_at_random(recipe, folder, finished, 1)


@pytest.mark.slow
def test_hundred_kills_lose_nothing(recipe, finished, tmp_path):
    kill_at_random(recipe, tmp_path / "run", finished, 100)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_killed_worker_is_survived(recipe, killed, tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text(recipe.to_toml())

    def train(name):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        words = ("train", file, "--workdir", folder / "run", "--resume")
        return folder, start_workers(folder, [*COMMAND, *words], 2)

    undisturbed, both = train("undisturbed")
    finish_workers(undisturbed, both)
    folder, both = train("killed")
    while not list((folder / "run").glob("checkpoints/train-*")):
        assert both[0].poll() is None
    both[killed].kill()
    both[killed].wait()
    assert both[1 - killed].wait(30) == 75
    said = (folder / f"{1 - killed}.log").read_text()
    assert said.splitlines()[-1].startswith("kbp: error: another worker")
    folder, both = train("killed")
    finish_workers(folder, both)
    check_equal(folder / "run", undisturbed / "run")


@pytest.mark.long
def test_spoilt_checkpoint_is_passed_over(undisturbed, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder)
    kept = sorted((folder / "checkpoints").glob("quantize-*.keras"))
    assert len(kept) == 2
    kept[1].write_bytes(kept[1].read_bytes()[:-100])
    foreign = folder / "checkpoints" / "mine.keras"
    foreign.write_text("a user's")
    half = folder / "checkpoints" / ".kbp-0123456789ab"
    half.write_text("half")
    checkpoints = Checkpoints(folder / "checkpoints", "quantize", keep=2)
    model, state = checkpoints.load()
    assert int(model.optimizer.iterations.numpy()) == 13
    assert state["inside"] == 0
    assert foreign.exists()
    remove_unfinished(folder / "checkpoints")
    assert not half.exists()
    assert foreign.exists()
    # Nothing sound is left.
    kept[0].write_bytes(b"")
    assert checkpoints.load() is None


@pytest.mark.slow
def test_divergence_goes_on_at_a_tenth_of_the_learning_rate(
    recipe, undisturbed, tmp_path, monkeypatch
):
    calls = []

    def diverge(self, batch, logs=None):
        calls.append(batch)
        if len(calls) == 20:
            raise divergence.DivergedError(19)

    guard = divergence.FiniteGradients
    monkeypatch.setattr(guard, "on_train_batch_end", diverge)
    folder = tmp_path / "run"
    run(recipe, folder)
    assert json.loads((folder / "run.json").read_text())["slower"] == {
        "train": 0.1
    }
    rows, usual = (
        callbacks.read_metrics(f / "metrics.csv") for f in (folder, undisturbed)
    )
    rates = [
        float(row["learning_rate"]) / float(other["learning_rate"])
        for row, other in zip(rows, usual, strict=True)
        if float(other["learning_rate"])
    ]
    # From the second epoch on, which began anew; the next stage is as it was.
    assert rates[0] == pytest.approx(1)
    assert rates[1] == pytest.approx(0.1, rel=1e-5)
    assert rates[-1] == pytest.approx(1)
    assert rows[0]["loss"] == usual[0]["loss"]


def test_what_is_not_finite_is_named():
    inputs = keras.Input((3,))
    x = keras.layers.Dense(2, name="fine")(inputs)
    bad = keras.layers.Dense(2, name="bad")
    model = keras.Model(inputs, keras.layers.ReLU()(bad(x)))
    x = np.ones((4, 3), "float32")
    assert first_not_finite(model, (x, None)) is None
    bad.kernel.assign(np.full((2, 2), np.inf))
    assert first_not_finite(model, (x, None)) == "layer bad"
    x[1, 2] = np.nan
    assert first_not_finite(model, (x, None)) == "what the data hold"


def test_what_is_not_finite_is_named_whatever_the_order_of_inputs():
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    bad = keras.layers.Dense(2, name="bad")
    model = keras.Model([b, a], [bad(a), keras.layers.Dense(2)(b)])
    x = {"a": np.ones((4, 3), "float32"), "b": np.ones((4, 2), "float32")}
    bad.kernel.assign(np.full((3, 2), np.inf))
    for inputs in (x, [x["b"], x["a"]]):
        assert first_not_finite(model, (inputs, None)) == "layer bad"
