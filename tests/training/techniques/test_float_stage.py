"""Recipes that train several times: starts, ensembles, one that learns."""

import io
import json
from functools import partial

import keras
import numpy as np
import pytest
import quick
from contracts import as_numpy
from rich.console import Console

from kbp import zoo
from kbp.data import Resampled
from kbp.errors import UserError
from kbp.inference.ensembles import members_of
from kbp.recipes import Recipe
from kbp.tasks import make_task
from kbp.training import callbacks, divergence, run
from kbp.training.pipeline import Pipeline
from kbp.training.trainer import Trainer
from kbp.training.workdir import WorkDir

PLAIN = (*quick.SETTINGS, "training.epochs=2", "quantization.enabled=false")
SILENT = {"file": io.StringIO()}
STARTS = ("training.starts=2",)
MEMBERS = ("ensemble.members=2",)
DISTILLED = (*MEMBERS, "ensemble.distill=true")
DROPPED = ("model.dropout=0.3", "model.num_blocks=1")
DROPPED_DEPTH = (*DROPPED, "model.stochastic_depth=0.3")


def recipe_of(*settings):
    found = zoo.find(zoo.DEFAULT).recipe.with_settings([*PLAIN, *settings])
    assert isinstance(found, Recipe)
    return found


def pipeline_of(folder, *settings):
    recipe = recipe_of(*settings)
    return Pipeline(
        recipe,
        WorkDir(folder, recipe, resume=True),
        partial(make_task, recipe, None),
        Console(**SILENT),
    )


def fitted(folder, *settings):
    """Return the model of a run's training in float, and its `run.json`."""
    pipeline = pipeline_of(folder, *settings)
    with pipeline.folder, pipeline.trainer.stopping:
        return pipeline.fit(), pipeline.folder.run


def assert_same(first, second):
    for a, b in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(as_numpy(a), as_numpy(b), a.path)


class StoppedError(Exception):
    pass


def stop_after(monkeypatch, owner, name, count):
    """Make a method stop the training when it returns for the n-th time."""
    method, calls = getattr(owner, name), 0

    def stopping(*args, **kwargs):
        nonlocal calls
        result = method(*args, **kwargs)
        calls += 1
        if calls == count:
            raise StoppedError
        return result

    monkeypatch.setattr(owner, name, stopping)


# Of two trainings of two epochs of five steps the second is stopped, in its
# second epoch; of one, the only one.
@pytest.mark.long
@pytest.mark.parametrize(
    ("settings", "step"),
    [
        (STARTS, 17),
        pytest.param(MEMBERS, 17, marks=pytest.mark.slow),
        pytest.param(DISTILLED, 27, marks=pytest.mark.slow),
        pytest.param(DROPPED_DEPTH, 7, marks=pytest.mark.slow),
    ],
)
def test_what_is_stopped_ends_as_if_it_had_not_been(
    settings, step, tmp_path, monkeypatch
):
    whole, expected = fitted(tmp_path / "whole", *settings)
    stop_after(
        monkeypatch, divergence.FiniteGradients, "on_train_batch_end", step
    )
    with pytest.raises(StoppedError):
        fitted(tmp_path / "stopped", *settings)
    monkeypatch.undo()
    trained, fit = [], Trainer.resume_fit

    def watched(self, model, *arguments, **options):
        trained.append(model.name)
        return fit(self, model, *arguments, **options)

    monkeypatch.setattr(Trainer, "resume_fit", watched)
    resumed, found = fitted(tmp_path / "stopped", *settings)
    assert len(trained) == 1  # what had ended is not trained again
    assert_same(whole, resumed)
    for key in ("starts", "ensemble", "tables"):
        assert found.get(key) == expected.get(key)


@pytest.mark.long
def test_the_start_of_the_least_validation_loss_stays(tmp_path):
    model, record = fitted(tmp_path / "run", *STARTS)
    losses = record["starts"]["losses"]
    best = int(np.argmin(losses))
    assert record["starts"]["best"] == best
    assert len({*losses}) == 2
    seed = record["starts"]["seeds"][best]
    alone, _ = fitted(tmp_path / "alone", f"training.seed={seed}")
    assert_same(model, alone)
    table = record["tables"]["Starts"]
    assert [row[0] for row in table["rows"]] == ["0", "1"]
    assert table["rows"][best][2] == "kept"
    assert f"best {min(losses):.4g} of seed {seed}" in table["remark"]
    rows = callbacks.read_metrics(tmp_path / "run" / "metrics.csv")
    assert {row["stage"] for row in rows} == {"train.1", "train.2"}
    assert f"train.{2 - best}" in record["other_stages"]
    assert f"train.{best + 1}" not in record["other_stages"]


@pytest.mark.long
def test_members_learn_from_samples_and_are_judged_on_all(
    tmp_path, monkeypatch
):
    seen, fit = [], Trainer.resume_fit

    def watched(self, model, *arguments, **options):
        task = self.task
        seen.append(task.drawn)
        found = np.concatenate(
            [labels for _, labels in task.batches("test").as_numpy_iterator()]
        )
        np.testing.assert_array_equal(found, task.splits.test.labels)
        return fit(self, model, *arguments, **options)

    monkeypatch.setattr(Trainer, "resume_fit", watched)
    model, record = fitted(tmp_path / "run", *MEMBERS)
    first, second = (drawn.indices for drawn in seen)
    assert len(first) == 1293
    assert not np.array_equal(first, second)
    for indices in (first, second):  # 1 - 1/e of the examples
        assert abs(len({*indices.tolist()}) / 1293 - 0.632) < 0.04
    assert len(members_of(model).outputs) == 2
    assert {*record["ensemble"]} == {"member 1", "member 2", "ensemble"}
    assert record["tables"]["Ensemble"]["rows"][-1][0] == "ensemble"


def test_a_sample_is_a_function_of_its_seed():
    task = make_task(recipe_of(), None)
    first, again, other = (
        Resampled(task.splits.train, seed) for seed in ((0, 1), (0, 1), (0, 2))
    )
    np.testing.assert_array_equal(first.indices, again.indices)
    assert not np.array_equal(first.indices, other.indices)
    inputs, labels = first.lookup()(np.arange(5))
    train = task.splits.train.take(first.indices[:5])
    np.testing.assert_array_equal(labels, train.labels)
    np.testing.assert_array_equal(inputs, train.inputs)


@pytest.mark.slow
def test_one_network_learns_from_the_ensemble(tmp_path):
    settings = ("training.epochs=12", "sparsity.target=0", *DISTILLED)
    model, record = fitted(tmp_path / "run", *settings)
    assert members_of(model) is None
    assert (
        model.count_params()
        == make_task(recipe_of(), None).build().count_params()
    )
    assert {*record["ensemble"]} >= {"ensemble", "distilled"}
    assert "train" not in record["other_stages"]
    # Its outputs are nearer to the teacher's than those of one that was not
    # taught, from the same start.
    plain, _ = fitted(tmp_path / "plain", *settings[:2])
    teacher, _ = fitted(tmp_path / "teacher", *settings[:2], *MEMBERS)
    images = make_task(recipe_of(), None).inputs("test")
    logits = [m.predict(images, verbose=0) for m in (model, plain, teacher)]
    taught, alone, wanted = (
        keras.activations.softmax(x).numpy() for x in logits
    )
    assert np.abs(taught - wanted).mean() < np.abs(alone - wanted).mean()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["model.dropout=1"], "`dropout` must be in"),
        (["model.stochastic_depth=0.1"], "0 for a model without residual"),
        (["model.initializer=he"], "`initializer` must be one of"),
        (["model.l2=-0.1"], "`l2` must not be negative"),
        (["training.starts=0"], "training.starts must be at least 1"),
        (
            ["training.starts=2", "data.validation_fraction=0"],
            "training.starts needs validation examples",
        ),
        (
            ["training.starts=2", "training.epochs=0", "sparsity.target=0"],
            "training.starts has no effect with training.epochs = 0",
        ),
        (
            ["ensemble.members=2", "training.epochs=0", "sparsity.target=0"],
            "ensemble.members has no effect with training.epochs = 0",
        ),
        (["ensemble.members=1"], "ensemble.members must be 2 or more"),
        (["ensemble.members=-1"], "ensemble.members must be at least 0"),
        (["ensemble.distill=true"], "ensemble.distill has no effect: "),
        (["ensemble.bootstrap=false"], "ensemble.bootstrap has no effect"),
        (["ensemble.combine=vote"], "ensemble.combine has no effect"),
        (
            ["ensemble.members=2", "ensemble.bootstrap=test"],
            "ensemble.bootstrap must be of type bool",
        ),
        (
            ["ensemble.members=2", "ensemble.combine=median"],
            "ensemble.combine: unknown 'median'",
        ),
        (
            ["ensemble.members=2", "training.starts=2"],
            "training.starts keeps one of several trainings",
        ),
        (
            [
                *("ensemble.members=2", "ensemble.combine=vote"),
                "ensemble.distill=true",
            ],
            "ensemble.distill learns from scores",
        ),
        (
            [
                *("ensemble.members=2", "ensemble.combine=vote"),
                "quantization.enabled=true",
            ],
            "cannot be computed in eight bits",
        ),
        (["training.distillation=1"], "training.distillation needs a teacher"),
    ],
    ids=str,
)
def test_what_has_no_effect_or_no_meaning_is_named_before_training(
    settings, words, tmp_path
):
    with pytest.raises(UserError, match=words) as caught:
        pipeline_of(tmp_path / "run", *settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


ROUNDED = ("quantization.enabled=true",)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        (*ROUNDED, *DROPPED_DEPTH, "model.l2=0.001"),
        (*ROUNDED, "model.initializer=he_normal", *STARTS),
        (*ROUNDED, *MEMBERS, "sparsity.granularity=channel"),
        (*ROUNDED, *DISTILLED),
        (*MEMBERS, "ensemble.combine=vote"),
    ],
)
def test_whole_runs_prune_round_export_and_verify(settings, tmp_path):
    folder = tmp_path / "run"
    stages = run(recipe_of(*settings), folder, console=Console(**SILENT))
    rounded = "quantization.enabled=true" in settings
    assert stages[-1].name == f"{'int8' if rounded else 'float32'} .tflite"
    found = json.loads((folder / "run.json").read_text())
    assert found["verification"]["within_one"] >= 0.99
    assert found["float_operations"] == [] or not rounded
    page = (folder / "report.html").read_text()
    for heading in found["tables"]:
        assert f"<h2>{heading}</h2>" in page
    assert ("Ensemble" in found["tables"]) == ("ensemble" in found)
    assert ("Starts" in found["tables"]) == ("starts" in found)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [DROPPED_DEPTH, DISTILLED])
def test_two_replicas_learn_as_one_device(settings, tmp_path):
    common = ("sparsity.target=0", "training.synchronize_batch_norm=true")
    rows = []
    for name in ("one_device", "mirrored"):
        strategy = f"training.strategy={name}"
        fitted(tmp_path / name, *settings, *common, strategy)
        rows.append(callbacks.read_metrics(tmp_path / name / "metrics.csv"))
    for one, two in zip(*rows, strict=True):
        for key in ("loss", "val_loss"):
            # Other draws change them by some hundredths. Weights are not
            # compared: where a gradient is nearly zero, the optimizer takes
            # its sign from the order of a sum.
            assert float(one[key]) == pytest.approx(float(two[key]), rel=2e-4)
