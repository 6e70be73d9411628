"""Every key of `[optimizer]` and `[training]`: replicas, stops, files."""

import dataclasses
import io

import numpy as np
import pytest
import small
from rich.console import Console

from kbp import training
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.recipes.training import OptimizerRecipe
from kbp.training import callbacks, checkpoint


def each_key():
    """Try each key, in the fast tier that of all together.

    It fails, too, where one of the others does.
    """
    return pytest.mark.parametrize(
        "settings",
        [
            pytest.param(
                settings,
                id=name,
                marks=[pytest.mark.slow] * (name != "together"),
            )
            for name, settings in small.KEYS.items()
        ],
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return Recipe.parse(small.table(tmp_path_factory.mktemp("data")))


def test_every_key_is_in_the_table():
    held = {
        setting.partition("=")[0].partition(".")[2]
        for settings in small.KEYS.values()
        for setting in settings
    }
    keys = {field.name for field in dataclasses.fields(OptimizerRecipe)}
    new = {"early_stopping", "label_smoothing", "precision", "rematerialize"}
    assert (keys | new) <= held | {"warmup"}


@pytest.mark.long
@each_key()
def test_two_replicas_are_one_device(settings, base, tmp_path):
    recipe = base.with_settings(settings)
    mirrored = recipe.with_settings(["training.strategy=mirrored"])
    one = small.trained(recipe, tmp_path / "one")
    two = small.trained(mirrored, tmp_path / "two")
    half = recipe.training.precision == "mixed_float16"
    for a, b in zip(one.variables, two.variables, strict=True):
        np.testing.assert_allclose(
            # float16 has ten bits, and sums of other parts round otherwise.
            *(a.numpy(), b.numpy()),
            rtol=0,
            atol=1e-2 if half else 1e-6,
        )
    rows, others = (
        callbacks.read_metrics(tmp_path / name / "metrics.csv")
        for name in ("one", "two")
    )
    assert len(rows) == len(others)


@pytest.mark.long
@each_key()
def test_stopped_training_goes_on_to_the_same_bytes(
    settings, base, tmp_path, monkeypatch
):
    recipe = base.with_settings(settings)
    expected = small.trained(recipe, tmp_path / "undisturbed")
    for hook, last in (("on_train_batch_end", 23), ("on_test_batch_end", 2)):
        folder = tmp_path / hook
        with monkeypatch.context() as patch:
            small.stop_in(patch, hook, (last,))
            with pytest.raises(SystemExit):
                small.trained(recipe, folder)
        found = small.trained(recipe, folder, resume=True)
        for a, b in zip(found.variables, expected.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy(), a.path)
        rows, others = (
            callbacks.read_metrics(path / "metrics.csv")
            for path in (folder, tmp_path / "undisturbed")
        )
        for row in (*rows, *others):
            del row["seconds"]
            row.pop("waiting", None)
        assert rows == others
        again = small.trained(recipe, folder, resume=True)  # of what is over
        assert checkpoint.to_bytes(again) == checkpoint.to_bytes(found)


def exported(recipe, folder):
    console = Console(file=io.StringIO(), width=120)
    pruned = recipe.with_settings(["sparsity.target=0.5"])
    stages = training.run(pruned, folder, console=console)
    return stages, training.workdir.read_run(folder)


@pytest.fixture(scope="module")
def float_operations(base, tmp_path_factory):
    """Those of the int8 file of a run without any of the keys."""
    _, state = exported(base, tmp_path_factory.mktemp("plain") / "run")
    return state["float_operations"]


@pytest.mark.long
@each_key()
def test_result_is_pruned_quantized_exported_and_verified(
    settings, base, float_operations, tmp_path
):
    stages, state = exported(base.with_settings(settings), tmp_path / "run")
    names = [stage.name for stage in stages]
    assert names[-2:] == ["float32 .tflite", "int8 .tflite"]
    pruned = stages[names.index("pruned")]
    assert pruned.nonzero < 0.8 * pruned.parameters
    assert 0.25 < state["kernel_sparsity"] < 0.55  # the ends have no masks
    assert state["verification"]["within_one"] >= 0.9
    assert state["float_operations"] == float_operations


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["optimizer.name=adan"], r"optimizer.name: unknown 'adan'; did you"),
        (
            ["optimizer.name=adam", "optimizer.momentum=0.9"],
            "optimizer.momentum has no effect: optimizer.name is 'adam', whose",
        ),
        (["optimizer.step_size=2"], "step_size has no effect: optimizer.sched"),
        (["optimizer.schedule=stp"], "optimizer.schedule: unknown 'stp'; did"),
        (
            ["optimizer.averaging_begin=0.5"],
            "averaging_begin has no effect: optimizer.averaging is 'none'",
        ),
        (
            ["optimizer.clipnorm=1", "optimizer.clipvalue=1"],
            "optimizer.clipnorm and optimizer.clipvalue exclude each other",
        ),
        (
            ["optimizer.name=sgd", "optimizer.nesterov=true"],
            "optimizer.nesterov has no effect: optimizer.momentum is 0",
        ),
        (
            ["optimizer.gradient_accumulation_steps=3"],
            "gradient_accumulation_steps must divide the 10 steps of an epoch",
        ),
        (
            ["optimizer.schedule=plateau", "data.validation_fraction=0"],
            "optimizer.schedule 'plateau' needs validation examples",
        ),
        (
            ["training.early_stopping={}", "data.validation_fraction=0"],
            "training.early_stopping needs validation examples for 'val_loss'",
        ),
        (
            ['training.early_stopping={monitor = "val_acuracy"}'],
            "unknown 'val_acuracy'; did you mean 'val_accuracy'",
        ),
        (
            ["training.early_stopping={patients = 3}"],
            "training.early_stopping.patients; did you mean 'patience'",
        ),
        (["training.early_stopping=3"], "training.early_stopping must be a ta"),
        (
            ["training.early_stopping={}", "training.keep_best=true"],
            "training.early_stopping brings back the best weights itself",
        ),
        (
            ["optimizer.averaging=ema", "training.keep_best=true"],
            "optimizer.averaging ends with an average, and training.keep_best",
        ),
        (
            ["training.precision=float16"],
            "training.precision: unknown 'float16'",
        ),
    ],
)
def test_contradiction_is_one_line_before_anything_is_written(
    settings, message, base, tmp_path
):
    with pytest.raises(UserError, match=message) as error:
        small.trained(base.with_settings(settings), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_recipe_with_all_keys_is_read_back(base):
    for settings in small.KEYS.values():
        recipe = base.with_settings(settings)
        assert Recipe.parse(recipe.to_dict()) == recipe
        assert recipe.with_settings([]) == recipe
