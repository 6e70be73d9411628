"""A stranger adds an architecture, a data set or a task in one file each."""

import importlib.metadata
import io
import json

import fresh
import pytest
from rich.console import Console

from kbp import training
from kbp.__main__ import main
from kbp._utils import plugins
from kbp.data.registry import DATASETS
from kbp.errors import UserError
from kbp.models.registry import MODELS
from kbp.recipes import Recipe
from kbp.tasks import format_score, make_task
from kbp.tasks.registry import TASKS

IMPORTS = [
    word
    for module in ("planes", "regression", "vector_net")
    for word in ("--import", module)
]


def check_run(run):
    """What a run of the made-up regression must leave."""
    state = json.loads((run / "run.json").read_text())
    assert state["metric"] == "MAE"
    assert state["recipe"]["data"] == {"name": "planes", "noise": 0.02}
    assert state["recipe"]["task"] == {"name": "regression"}
    assert state["recipe"]["loss"] == {"delta": 0.5}
    assert state["stages"][0]["score"] < 0.3  # of numbers from -7 to 7
    assert state["stages"][-1]["score"] < 0.4
    assert state["kernel_sparsity"] > 0.2
    assert state["verification"]["within_one"] == 1.0
    assert state["float_operations"] == []
    report = (run / "report.html").read_text()
    assert "<h1>vector_net on planes</h1>" in report
    assert "<th>MAE</th>" in report
    assert "<td>largest error</td>" in report
    assert "Errors of the int8 file" in report
    assert "Learning curves" in report
    assert (run / "model_int8.tflite").is_file()
    assert (run / "predictions.svg").is_file()
    return state


@pytest.mark.long
def test_task_of_a_stranger_runs_from_the_command_line(folder, capsys):
    words = ["-m", "kbp", "train", "planes.toml", "--workdir", "run", *IMPORTS]
    result = fresh.command(*words, cwd=folder)
    assert result.returncode == 0, result.stderr
    state = check_run(folder / "run")
    assert f"{state['stages'][-1]['score']:.3f}" in result.stdout
    # What it made is read by the other commands, in this process.
    assert main(["evaluate", "run", *IMPORTS]) == 0
    assert main(["predict", *IMPORTS, "run", "--out", "out"]) == 2
    # Modules may be named behind the files, too.
    capsys.readouterr()
    assert main(["predict", "run", "x.csv", "--out", "out", *IMPORTS]) == 2
    assert "must be of a task that predicts files" in capsys.readouterr().err


@pytest.mark.slow
def test_task_of_a_stranger_runs_from_a_program(folder):
    for module in ("planes", "regression", "vector_net"):
        plugins.import_module(module)
    recipe = Recipe.read("planes.toml")
    assert Recipe.parse(recipe.to_dict()) == recipe
    assert recipe.with_settings(["loss.delta=2"]).task != recipe.task
    console = Console(file=io.StringIO(), width=120)
    stages = training.run(recipe, folder / "run", console=console)
    assert check_run(folder / "run")["stages"][-1]["score"] == stages[-1].score
    assert format_score("MAE", 0.12345) == "0.123"


def test_architecture_and_data_set_are_a_file_each(folder):
    for module in ("image_net", "stripes"):
        plugins.import_module(module)
    recipe = Recipe.parse(
        {
            "model": {"architecture": "image_net", "filters": 4},
            "data": {"name": "stripes", "count": 64},
            "augmentation": {"flip": True},
            "training": {"batch_size": 16},
        }
    )
    task = make_task(recipe)
    assert task.name == "classification"
    assert task.build().output_shape == (None, 2)
    entry = DATASETS["stripes"]
    assert entry.note(recipe.data.config) == "64 images"
    assert entry.module == "stripes"
    for sections, message in (
        ({"model": {"architecture": "image_net", "filter": 4}}, "'filters'"),
        ({"data": {"name": "stripes", "noise": 1}}, "noise must be less than"),
        ({"data": {"name": "stripes", "image_size": 8}}, "key data.image_size"),
        ({"data": {"name": "stripe"}}, r"did you mean 'stripes'\?"),
    ):
        with pytest.raises(UserError, match=message):
            Recipe.parse(sections)
    masks = recipe.with_settings(["task.name=segmentation"])
    with pytest.raises(
        UserError, match=r"'segmentation' does not fit .*stripe"
    ):
        make_task(masks)
    with pytest.raises(UserError, match="one head alone, and none for segm"):
        recipe.model.build((8, 8, 1), 2, head="segmentation")


def test_what_is_not_imported_is_said_to_be_missing(folder, capsys):
    assert main(["train", "planes.toml", "--workdir", "run"]) == 2
    error = capsys.readouterr().err
    assert "data.name: unknown 'planes'" in error
    assert "needs --import MODULE" in error
    assert error.count("\n") == 1
    assert not (folder / "run").exists()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("nothing_here", "module nothing_here: No module named 'nothing_here'"),
        (
            "broken",
            "module broken: cannot be imported: RuntimeError: two lines",
        ),
        ("leaving", "module leaving: cannot be imported: SystemExit: 0"),
        (".planes", "module .planes: must be named in full"),
        ("planes.py", "a module is named without its suffix .py"),
    ],
)
@pytest.mark.parametrize(
    "command",
    ["train", "evaluate", "predict", "forecast", "export", "check-tpu"],
)
def test_module_that_cannot_be_imported_is_one_line(
    folder, command, module, message, capsys
):
    with pytest.raises(SystemExit) as stop:
        main([command, "--import", module])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def point_at(monkeypatch, value):
    """Make an installed package name a module as a plugin."""
    entry = importlib.metadata.EntryPoint("mine", value, plugins.GROUP)
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda *, group: [entry] if group == plugins.GROUP else [],
    )
    for registry in (MODELS, DATASETS, TASKS):
        monkeypatch.setattr(registry, "_complete", False)


def test_installed_plugins_are_loaded_at_the_first_lookup(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    point_at(monkeypatch, "vector_net")
    model = Recipe.parse({"model": {"architecture": "vector_net"}}).model
    assert model.build((6,), 1).output_shape == (None, 1)


def test_installed_plugin_that_fails_is_named(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    point_at(monkeypatch, "broken")
    for _ in range(2):
        with pytest.raises(UserError, match=r"plugin mine \(broken\): cannot"):
            Recipe.parse({})


def test_recipe_imports_nothing_by_itself(folder):
    for text in ('import = ["broken"]', '[plugins]\nimport = ["broken"]'):
        (folder / "hostile.toml").write_text(text)
        with pytest.raises(UserError, match=r"hostile\.toml: "):
            Recipe.read("hostile.toml")
