"""Runs: the whole pipeline, resumed, refused, mirrored."""

import csv
import html.parser
import io
import json
import shutil
import types
from pathlib import Path

import numpy as np
import pytest
import quick
from contracts import as_numpy
from rich.console import Console

from kbp import export, training, zoo
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.reports import footprint
from kbp.training import (
    callbacks,
    checkpoint,
    distribution,
    divergence,
    trainer,
    workdir,
)
from kbp.training.workdir import WorkDir

TINY = [
    *quick.SETTINGS,
    "model.num_blocks=1",  # for files whose sizes tell something
    "training.epochs=3",
    "quantization.epochs=2",
    "training.batch_size=128",
]


def default(settings):
    return zoo.find(zoo.DEFAULT).recipe.with_settings(settings)


def run(recipe, folder, **arguments):
    console = Console(file=io.StringIO(), width=120)
    return training.run(recipe, folder, console=console, **arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A recipe of seconds, to the end without a stop."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return folder, run(default(TINY), folder)


@pytest.fixture(scope="module")
def tiny(finished):
    return finished[0]


@pytest.mark.slow
def test_pruned_channels_leave_the_exported_files(tmp_path):
    settings = ("sparsity.granularity=channel", "sparsity.target=0.5")
    stages = run(default((*TINY, *settings)), tmp_path / "channels")
    trained, pruned, rounded, quantized, dense, whole, small = stages
    assert rounded.parameters == small.parameters
    assert dense.name == "float32 .tflite, all channels"
    assert dense.speed_up == 1.0
    assert dense.score == whole.score
    assert dense.parameters > whole.parameters
    for file in (whole, small):
        assert file.speed_up == pytest.approx(dense.latency / file.latency)
    assert pruned.parameters < 0.7 * trained.parameters
    assert pruned.score == pytest.approx(trained.score, abs=0.01)
    assert quantized.parameters == pruned.parameters
    assert small.parameters == whole.parameters < pruned.parameters


@pytest.mark.long
def test_run_leaves_everything_behind(finished):
    folder, stages = finished
    assert {
        ".lock",
        "run.json",
        "recipe.toml",
        "metrics.csv",
        "logs",
        "checkpoints",
        "model.keras",
        "model_quantized.keras",
        "saved_model",
        "model_float32.tflite",
        "model_int8.tflite",
        "golden.npz",
        "labels.txt",
        "predictions.svg",
        "report.html",
    } == {path.name for path in folder.iterdir()}
    assert [stage.name for stage in stages] == [
        "trained",
        "pruned",
        "int8 .tflite, not trained",
        "quantization-aware",
        "float32 .tflite",
        "int8 .tflite",
    ]
    assert Recipe.read(folder / "recipe.toml") == default(TINY)
    assert any((folder / "logs").rglob("events.out.tfevents.*"))


def test_run_says_what_it_was(finished):
    folder, _ = finished
    state = json.loads((folder / "run.json").read_text())
    assert state["status"] == "finished"
    assert state["versions"]["keras"].startswith("3.")
    assert {"commit", "machine", "seconds", "peak_memory_bytes"} <= set(state)
    assert Recipe.parse(state["recipe"]) == default(TINY)


def test_files_are_what_the_table_says(finished):
    folder, stages = finished
    trained, stripped, rounded, quantized, whole, small = stages
    assert trained.score == stripped.score == whole.score
    assert abs(small.score - quantized.score) < 0.01
    # A byte instead of four; tables of scales take some of that back.
    assert whole.file_size - small.file_size > 2 * whole.parameters
    assert small.speed_up == pytest.approx(whole.latency / small.latency)
    assert stripped.nonzero < 0.5 * stripped.parameters
    assert export.audit(folder / "model_int8.tflite").float_operations == ()
    assert abs(rounded.score - stripped.score) < 0.05
    assert rounded.parameters == small.parameters
    assert rounded.file_size == pytest.approx(small.file_size, rel=0.05)
    assert rounded.latency is None
    state = json.loads((folder / "run.json").read_text())
    taken = export.Footprint.from_dict(state["footprint"])
    assert taken == export.footprint(folder / "model_int8.tflite")
    assert state["kernel_sparsity"] > 0.5
    assert state["verification"]["unit"] == "LSB"
    assert state["verification"]["within_one"] >= 0.99


def test_metrics_have_a_row_for_each_epoch(tiny):
    with (tiny / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["stage"], row["epoch"]) for row in rows] == [
        *(("train", str(i)) for i in (1, 2, 3)),
        *(("quantize", str(i)) for i in (1, 2)),
    ]
    for key in ("loss", "accuracy", "val_loss", "val_accuracy", "seconds"):
        assert all(np.isfinite(float(row[key])) for row in rows)
    assert float(rows[2]["sparsity"]) == pytest.approx(0.7, abs=0.01)
    assert 0.5 < float(rows[2]["sparsity/scale1_block0_conv"]) < 0.9


def test_report_is_one_file_that_fetches_nothing(finished):
    page = (finished[0] / "report.html").read_text()

    class Page(html.parser.HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.headings, self.cells = [], [], 0

        def handle_starttag(self, tag, attrs):
            self.tags.append(tag)
            for key, value in attrs:
                if key in ("src", "href", "xlink:href"):
                    assert value[0] == "#" or value[:5] == "data:", value

    parsed = Page()
    parsed.feed(page)
    assert parsed.tags.count("svg") == 5
    state = json.loads((finished[0] / "run.json").read_text())
    taken = export.Footprint.from_dict(state["footprint"])
    rows = len(footprint.table(taken).rows) + 1
    # Stages, guess, classes, layers.
    assert parsed.tags.count("tr") == 9 + 3 + 11 + rows
    assert "script" not in parsed.tags
    assert "@import" not in page
    for text in (
        "Learning curves",
        "Pruned per layer",
        "scale1_block0",
        "int8",
    ):
        assert text in page


def test_finished_run_is_refused_and_shown_on_request(tiny):
    before = {p: p.stat().st_mtime_ns for p in tiny.rglob("*")}
    with pytest.raises(UserError, match=r"is finished\. Give `resume=True`"):
        run(default(TINY), tiny)
    stages = run(default(TINY), tiny, resume=True)
    assert stages[-1].name == "int8 .tflite"
    assert {p: p.stat().st_mtime_ns for p in tiny.rglob("*")} == before


@pytest.fixture
def copied(tiny, tmp_path):
    return Path(shutil.copytree(tiny, tmp_path / "copied"))


REMADE = (
    *("model.keras", "model_quantized.keras", "model_float32.tflite"),
    *("model_int8.tflite", "report.html", "golden.npz", "recipe.toml"),
)


@pytest.mark.long
def test_missing_files_of_a_finished_run_are_made_again(tiny, copied):
    for name in REMADE:
        (copied / name).unlink()
    run(default(TINY), copied, resume=True)
    for name in REMADE:
        assert (copied / name).read_bytes() == (tiny / name).read_bytes(), name


def test_what_cannot_be_made_again_is_named(copied):
    shutil.rmtree(copied / "checkpoints")
    for name in ("model_int8.tflite", "model_quantized.keras"):
        (copied / name).unlink()
    with pytest.raises(UserError, match=r"model_int8.tflite.*no checkpoint of"):
        run(default(TINY), copied, resume=True)
    assert not (copied / "model_int8.tflite").exists()


def test_changed_files_of_a_finished_run_are_named_and_left(copied):
    (copied / "report.html").write_text("mine")
    (copied / "model_int8.tflite").unlink()
    with pytest.raises(UserError, match=r"report.html: changed since the run"):
        run(default(TINY), copied, resume=True)
    assert (copied / "report.html").read_text() == "mine"


class StoppedError(Exception):
    pass


def stop_after(monkeypatch, owner, name, count):
    """Make a method stop the run when it returns for the n-th time."""
    method, calls = getattr(owner, name), 0

    def stopping(*args, **kwargs):
        nonlocal calls
        result = method(*args, **kwargs)
        calls += 1
        if calls == count:
            raise StoppedError
        return result

    monkeypatch.setattr(owner, name, stopping)


@pytest.mark.parametrize(
    ("owner", "name", "count"),
    [
        pytest.param(
            divergence.FiniteGradients,
            "on_train_batch_end",
            25,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            callbacks.Checkpoint, "on_epoch_end", 4, marks=pytest.mark.slow
        ),
        pytest.param(export, "to_saved_model", 1, marks=pytest.mark.slow),
    ],
)
def test_stopped_run_resumes_to_the_same_weights(
    tiny, tmp_path, monkeypatch, owner, name, count
):
    folder = tmp_path / "stopped"
    stop_after(monkeypatch, owner, name, count)
    with pytest.raises(StoppedError):
        run(default(TINY), folder)
    monkeypatch.undo()
    with pytest.raises(UserError, match="run that is unfinished"):
        run(default(TINY), folder)
    run(default(TINY), folder, resume=True)
    for file in ("model.keras", "model_quantized.keras"):
        found, expected = (
            checkpoint.load(path / file) for path in (folder, tiny)
        )
        for a, b in zip(found.variables, expected.variables, strict=True):
            np.testing.assert_array_equal(as_numpy(a), as_numpy(b), a.path)
    rows = callbacks.read_metrics(folder / "metrics.csv")
    expected = callbacks.read_metrics(tiny / "metrics.csv")
    for row in (*rows, *expected):
        del row["seconds"], row["waiting"]
    assert rows == expected


def test_two_processes_never_share_a_folder(tmp_path):
    with (
        WorkDir(tmp_path / "run", default(TINY), resume=False),
        pytest.raises(UserError, match="another process is running"),
    ):
        run(default(TINY), tmp_path / "run", resume=True)


def test_resume_of_another_recipe_names_what_differs(tiny):
    other = default([*TINY, "training.seed=7"])
    with pytest.raises(UserError, match=r"different: training\.seed"):
        run(other, tiny, resume=True)


def test_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(UserError, match="not empty and no work directory"):
            run(default(TINY), tmp_path, resume=resume)
    file = tmp_path / "mine.txt"
    with pytest.raises(UserError, match="not empty and no work directory"):
        run(default(TINY), file)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    file.rename(tmp_path / "recipe.toml")  # a recipe of a person's own
    with pytest.raises(UserError, match="not empty and no work directory"):
        run(default(TINY), tmp_path)
    assert (tmp_path / "recipe.toml").read_text() == "mine"
    for content in ('{"status": "mine"}', '{"recipe": "x"}', "[]", "mine"):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(UserError, match=r"run\.json: not a run of kbp"):
            run(default(TINY), tmp_path, resume=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.test_fraction=0.999"], r"\[data\] .*number of classes"),
        (["data.name=cifar10"], "unknown key data.image_size"),
        (["training.batch_size=5000"], "at most the 1293 training examples"),
        (["model.num_scales=1"], r"\[model\] Argument `num_scales`"),
        (["sparsity.skip=['dense7']"], "names no layer"),
        (["quantization.skip=['dense7']"], r"\[quantization\].*no layer"),
        (
            ["quantization.int16=['logits']"],
            r"\[quantization\].*must be a Dense",
        ),
        (
            ["training.strategy=mirrored", "training.batch_size=31"],
            "divisible by the 2 replicas",
        ),
    ],
)
def test_what_does_not_fit_is_named_before_anything_is_written(
    tmp_path, settings, message
):
    folder = tmp_path / "run"
    with pytest.raises(UserError, match=message):
        run(default([*TINY, *settings]), folder)
    assert not folder.exists()


def test_data_directory_is_asked_for_before_anything_is_written(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(UserError, match="CIFAR-10 needs a data directory"):
        run(default([*quick.EPOCH, "data.name=cifar10"]), folder)
    assert not folder.exists()


@pytest.mark.long
def test_diverging_training_stops_with_its_step(tmp_path):
    recipe = default([*TINY, "optimizer.learning_rate=1e12"])
    message = r"train, step \d+: .* is not finite, also at a tenth"
    with pytest.raises(FloatingPointError, match=message):
        run(recipe, tmp_path / "run")


@pytest.mark.slow
def test_mirrored_run_learns_as_one_device_does(tiny, tmp_path):
    stages = run(
        default([*TINY, "training.strategy=mirrored"]), tmp_path / "mirrored"
    )
    state = json.loads((tiny / "run.json").read_text())
    # Each replica has BatchNormalization statistics of its own half.
    assert abs(stages[0].score - state["stages"][0]["score"]) < 0.1
    assert [s.name for s in stages] == [s["name"] for s in state["stages"]]


def test_strategies_by_name():
    assert distribution.create_strategy("auto").num_replicas_in_sync == 1
    assert distribution.create_strategy("one_device").num_replicas_in_sync == 1
    mirrored = distribution.create_strategy("mirrored")
    assert mirrored.num_replicas_in_sync == 2
    assert distribution.describe(mirrored) == "2 replicas, CPU"
    with pytest.raises(UserError, match="'mirored'; did you mean 'mirrored'"):
        distribution.create_strategy("mirored")


@pytest.mark.slow
def test_second_recipe_runs_to_the_end_too(tmp_path):
    entry = zoo.find("bp_transformer_small.digits")
    recipe = entry.recipe.with_settings(
        [*quick.EPOCH, "training.batch_size=128", "model.width=32"]
    )
    stages = run(recipe, tmp_path / "run")
    audit = export.audit(tmp_path / "run" / "model_int8.tflite")
    # The recipe leaves the products of its attention in float, no more.
    floats = {op.name for op in audit.float_operations}
    assert {"BATCH_MATMUL", "SOFTMAX"} <= floats
    assert "FULLY_CONNECTED" not in floats
    assert stages[-1].nonzero < 0.7 * stages[-1].parameters


@pytest.mark.slow
def test_run_without_masks_or_validation(tmp_path):
    settings = ["sparsity.target=0", "data.validation_fraction=0"]
    stages = run(default([*TINY, *settings]), tmp_path / "run")
    assert stages[1].nonzero > 0.99 * stages[1].parameters
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Pruned per layer" not in page


@pytest.mark.slow
def test_precision_is_that_of_training_alone(tmp_path, monkeypatch):
    seen, resume_fit = [], trainer.Trainer.resume_fit

    def look(self, model, *arguments, **options):
        seen.append({layer.compute_dtype for layer in model.layers})
        resume_fit(self, model, *arguments, **options)

    monkeypatch.setattr(trainer.Trainer, "resume_fit", look)
    settings = [*TINY, "training.precision=mixed_bfloat16"]
    stages = run(default(settings), tmp_path / "run")
    assert "bfloat16" in seen[0]
    assert seen[1] == {"float32"}
    assert stages[0].score > 0.2  # it has learned
    model = checkpoint.load(tmp_path / "run" / "model.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_folder_that_cannot_be_written_is_refused(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    message = "run: cannot be written: Not a directory"
    with pytest.raises(UserError, match=message):
        run(default(TINY), tmp_path / "file" / "run")


def test_full_disk_is_seen_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(
        workdir.shutil,
        "disk_usage",
        lambda path: types.SimpleNamespace(free=3_000_000),
    )
    message = r"the disk has 3 MB left, and the run needs some 1\d MB"
    with pytest.raises(UserError, match=message):
        run(default(TINY), tmp_path / "a" / "run")
    assert not list(tmp_path.iterdir())
