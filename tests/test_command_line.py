"""The command line as a person uses it."""

import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import fresh
import keras
import numpy as np
import pytest
import quick
from PIL import Image

from kbp import export, training, zoo
from kbp.__main__ import COMMANDS, main
from kbp.errors import UserError
from kbp.recipes import Recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", "--workdir", str(folder), *quick.WORDS]) == 0
    return folder


@pytest.fixture
def call(capsys, monkeypatch):
    """Run a command and return status, standard output and error."""
    monkeypatch.setenv("COLUMNS", "150")

    def run(*arguments, program="kbp"):
        capsys.readouterr()
        try:
            status = main([str(a) for a in arguments], program=program)
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(call, command):
    status, out, _ = call(*command.split(), "--help")
    assert status == 0
    assert f"examples:\n  kbp {command}" in out


@pytest.mark.long
def test_quiet_is_one_sentence(call, folder):
    # Without a recipe it is the one of the run, with its settings.
    words = ("train", "--workdir", folder, "--resume", "--quiet")
    status, out, err = call(*words)
    assert (status, err) == (0, "")
    run = json.loads((folder / "run.json").read_text())
    last = run["stages"][-1]
    said, *warnings = out.splitlines()
    assert f"{last['score']:.2%} now" in said
    assert f"{last['speed_up']:.1f} times as fast as the float32 f" in said
    assert said in (folder / "report.html").read_text()
    assert warnings == [f"Warning: {words}" for words in run["warnings"]]


@pytest.mark.parametrize("command", ["train", "federate"])
def test_resuming_takes_the_recipe_of_the_run(command, call, tmp_path):
    (tmp_path / "recipe.toml").write_text("[training]\nepoch = 3\n")
    status, _, err = call(command, "--workdir", tmp_path, "--resume")
    assert status == 2
    assert "recipe.toml" in err
    assert "epoch" in err


def test_federate_wants_a_recipe_or_a_run(call, tmp_path):
    status, _, err = call("federate", "--workdir", tmp_path, "--resume")
    assert status == 2
    assert "give RECIPE" in err


def test_quiet_and_verbose_exclude_each_other(call):
    status, _, err = call("train", "--quiet", "--verbose")
    assert status == 2
    assert "not allowed with" in err
    status, _, err = call("federate", "a.toml", "--app", "b", "--quiet")
    assert status == 2
    assert "--quiet has no effect with --app" in err


def test_list_shows_the_zoo(call):
    status, out, _ = call("list")
    assert status == 0
    for entry in zoo.entries():
        assert entry.name in out


def test_evaluate_reproduces_the_runs_figures(call, folder):
    status, out, _ = call("evaluate", folder)
    assert status == 0
    stages = json.loads((folder / "run.json").read_text())["stages"]
    for stage in stages[1:]:
        assert f"{stage['score']:.2%}" in out
    status, out, _ = call("evaluate", folder / "model_int8.tflite")
    assert status == 0
    assert f"{stages[-1]['score']:.2%}" in out


def test_audit_and_benchmark_read_files(call, folder):
    files = folder / "model_float32.tflite", folder / "model_int8.tflite"
    status, out, _ = call("audit", files[1], "--allow-float")
    assert status == 0
    assert "0 of them float" in out
    status, out, err = call("audit", files[0], "--allow-float")
    assert status == 2
    assert "float by accident" in err
    status, out, _ = call("benchmark", *files, "--rounds", 2)
    assert status == 0
    assert "1.00x" in out


def test_sensitivity_ranks_what_is_rounded(call, folder, tmp_path):
    status, out, _ = call("sensitivity", folder, "--examples", 16)
    assert status == 0
    *errors, whole = map(float, re.findall(r" (\d\.\d{5})$", out, re.M))
    assert len(errors) > 5
    assert whole > 0
    assert errors == sorted(errors, reverse=True)
    data = tmp_path / "data.npy"
    shape = keras.models.load_model(folder / "model.keras").input_shape[1:]
    np.save(data, np.zeros((4, *shape), "float32"))
    words = ("sensitivity", folder / "model.keras", "--data", data)
    status, _, err = call(*words, "--skip", "nothing")
    assert status == 2
    assert "names no layer" in err
    status, _, err = call("sensitivity", folder / "model_int8.tflite")
    assert status == 2
    assert "not a .keras file" in err


@pytest.mark.long
def test_sensitivity_of_a_file_takes_the_runs_data_or_asks(
    call, folder, tmp_path
):
    file = folder / "model_quantized.keras"
    status, out, _ = call("sensitivity", file, "--examples", 16)
    assert status == 0
    assert out == call("sensitivity", folder, "--examples", 16)[1]
    for name in ("model.keras", "model_quantized.keras"):
        shutil.copy(folder / name, tmp_path)
    for path in (tmp_path, tmp_path / "model.keras"):
        status, _, err = call("sensitivity", path)
        assert status == 2
        assert "no recipe.toml beside it says what its data are" in err
        assert err.count("\n") == 1


@pytest.mark.parametrize("kind", ["uint8", "float32", "int8"])
def test_input_dtype_asks_for_eight_bits_of_all_that_has_them(
    kind, call, folder, tmp_path
):
    entry = "pyramid_bpnet_tiny.digits"
    for index, source in enumerate([folder, entry]):
        out = tmp_path / f"{index}.tflite"
        status, _, err = call("export", source, out, "--input-dtype", kind)
        assert status == 0, err
        assert np.dtype(export.Runner(out).inputs[0]["dtype"]) == kind
        floats = len(export.audit(out).float_operations)
        assert floats == (2 if kind == "float32" else 0)  # at both ends
    out = tmp_path / "float.tflite"
    words = (folder / "model.keras", out, "--input-dtype", kind)
    status, _, err = call("export", *words)
    assert status == 2
    assert "quantize_aware" in err


def test_budgets_are_kept_or_said(call, folder, tmp_path):
    file = folder / "model_int8.tflite"
    status, out, _ = call("audit", file, "--budget", "1MB:flash,1MB:ram")
    assert status == 0
    assert call("audit", folder, "--budget", "1MB:ram")[0] == 0
    given = ("export", folder / "model.keras", tmp_path / "a.tflite")
    status, told, _ = call(*given, "--budget", "1MB:ram")
    assert status == 0
    assert "RAM: " in told
    (tmp_path / "a.tflite").unlink()
    assert "What layers take" in out
    assert "Operations: " in out
    assert "Memory: " in out
    for budget, words in (
        ("1kB:flash", "its largest layer is "),
        ("16B:ram", "most is needed at "),
    ):
        status, _, err = call("audit", file, "--budget", budget)
        assert status == 1
        assert err.count("\n") == 1
        assert words in err
        path = tmp_path / "out.tflite"
        words = ("export", folder / "model.keras", path, "--budget", budget)
        status, _, err = call(*words)
        assert status == 1
        assert "out.tflite is over its budget" in err
        assert not [*tmp_path.iterdir()]
    for words in (
        ("audit", file, "--budget", "1kB"),
        ("audit", file, "--budget", ""),
        ("export", folder / "model.keras", path, "--budget", "64kB:rom"),
    ):
        status, _, err = call(*words)
        assert status == 2
        assert "a budget is SIZE:flash" in err
        assert err.count("\n") == 1
    saved = tmp_path / "saved"
    words = ("export", folder / "model.keras", saved, "--budget", "1kB:ram")
    status, _, err = call(*words)
    assert status == 2
    assert "--budget is for a .tflite file" in err
    assert not [*tmp_path.iterdir()]


@pytest.mark.long
def test_export_writes_what_is_asked_for(call, folder, tmp_path):
    out = tmp_path / "again.tflite"
    assert call("export", folder, out, "--dtype", "int8")[0] == 0
    assert out.read_bytes() == (folder / "model_int8.tflite").read_bytes()
    status, _, err = call("export", folder, out)
    assert status == 2
    assert "exists" in err
    half = tmp_path / "half.tflite"
    words = ("bp_transformer_small.digits", half, "--dtype", "float16")
    assert call("export", *words)[0] == 0
    assert half.is_file()
    saved = tmp_path / "saved"
    assert call("export", folder / "model.keras", saved)[0] == 0
    assert (saved / "saved_model.pb").is_file()
    status, _, err = call(
        "export",
        folder / "model.keras",
        tmp_path / "x.tflite",
        "--dtype",
        "int8",
    )
    assert status == 2
    assert "quantize_aware" in err
    assert not (tmp_path / "x.tflite").exists()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["npy", "npz", "xy", "recipe", "folder"])
def test_export_rounds_a_float_model_from_examples(
    call, folder, tmp_path, kind
):
    images = np.random.default_rng(0).random((40, 8, 8, 1), "float32")
    data = tmp_path / f"examples.{kind}"
    if kind == "npy":
        np.save(data, images)
    elif kind == "npz":
        np.savez(data, images=images)
    elif kind == "xy":
        data = tmp_path / "examples.npz"
        np.savez(data, y=np.arange(40), x=images)
    elif kind == "folder":
        data.mkdir()
        for index, image in enumerate(images):
            pixels = Image.fromarray((255 * image[..., 0]).astype("uint8"))
            pixels.save(data / f"{index}.png")
    else:
        data = folder
    out = tmp_path / "small.tflite"
    status, printed, err = call("export", folder, out, "--calibrate", data)
    assert status == 0, err
    assert " 0 of them float" in printed
    score = call("evaluate", out, "--recipe", folder)[1]
    assert "accuracy" in score


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("wrong.npy", "Received: (40, 8, 8), without the last axis"),
        ("two.npz", "holds a, b; the array of inputs must be named 'image'"),
        ("text.npy", "text.npy: cannot be read"),
        ("none.npy", "none.npy: cannot be read"),
        ("none.toml", "none.toml: cannot be read"),
    ],
)
def test_export_names_examples_that_do_not_fit(
    call, folder, tmp_path, data, message
):
    np.save(tmp_path / "wrong.npy", np.zeros((40, 8, 8)))
    np.savez(tmp_path / "two.npz", a=np.zeros((40, 8, 8, 1)), b=np.zeros(40))
    (tmp_path / "text.npy").write_text("no array")
    out = tmp_path / "small.tflite"
    status, _, err = call("export", folder, out, "--calibrate", tmp_path / data)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "trian"),
        (["train", "--epochs", "3"], "unrecognized arguments"),
        (["train", "nothing.toml"], "nothing.toml: cannot be read"),
        (
            ["train", "pyramid_bpnet_small"],
            "did you mean 'pyramid_bpnet_small.d",
        ),
        (["train", "--set", "training.epoch=3"], "did you mean 'epochs'?"),
        (["train", "--set", "training.epochs=x"], "must be of type int"),
        (["train", "--strategy", "mirored"], "did you mean 'mirrored'?"),
        (["train", "--set", "data.name=mnist"], "unknown 'mnist'"),
        (
            ["train", "--set", "data.image_size=31"],
            "the shape of an example of [data]",
        ),
        (
            ["train", "--set", "data.name=cifar10", "--data-dir", "none"],
            "data_batch_1.bin: missing",
        ),
        (["evaluate", "nothing"], "nothing: no such file or folder"),
        (["evaluate", f"{zoo.DEFAULT}s"], f"; did you mean '{zoo.DEFAULT}'?"),
        (["train", "no.toml"], "no.toml: cannot be read: No such file or dir"),
        (["evaluate", "."], "holds none of model.keras"),
        (["audit", "nothing.tflite"], "nothing.tflite: no such file"),
        (["audit", "broken.tflite"], "not a .tflite file"),
        (["benchmark", "broken.tflite"], "not a .tflite file"),
        (
            ["benchmark", "broken.tflite", "--threads", "0"],
            "must be a whole number, 1 or more",
        ),
        (["export", "broken.keras", "x.tflite"], "no .keras file"),
        (["export", "nothing.keras", "x.tflite"], "no such file"),
        (["benchmark", "recipe"], "takes one recipe"),
        (["benchmark", "step-time", "more"], "unknown case 'more'"),
        (["benchmark", "applications", "ResNet5"], "mean 'ResNet50'?"),
        (["benchmark", "optimizers", "Adan"], "unknown optimizer 'Adan'"),
        (["benchmark", "optimizers"], "CIFAR-10 needs a data directory"),
        (["benchmark", "pruning", "TFMOD"], "unknown method 'TFMOD'"),
        (["dev", "publish", "nobody", "."], "unknown zoo entry"),
        (["dev", "publish", "optimizers", "none.jsonl"], "none.jsonl: missing"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    call, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KBP_DATA", raising=False)
    for name in ("broken.tflite", "broken.keras"):
        (tmp_path / name).write_text("this is no model")
    before = sorted(tmp_path.rglob("*"))
    status, _, err = call(*arguments)
    assert status == 2
    assert err.count("\n") == 1, err
    assert message in err
    assert sorted(tmp_path.rglob("*")) == before


def test_file_of_other_data_is_named(call, folder):
    status, _, err = call(
        "evaluate",
        folder / "model_int8.tflite",
        "--recipe",
        "bp_transformer_small.digits",
    )
    assert status == 2
    assert "takes examples of shape (8, 8, 1)" in err


def test_train_py_says_what_is_wrong_in_one_line(tmp_path):
    result = fresh.command(
        fresh.ROOT / "train.py", "--set", "training.epoch=3", cwd=tmp_path
    )
    assert result.returncode == 2
    assert result.stderr == (
        "train.py: error: unknown key training.epoch; did you mean 'epochs'?\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_module_says_what_is_wrong_in_one_line(tmp_path):
    result = fresh.command("-m", "kbp", "audit", "none.tflite", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == "kbp: error: none.tflite: no such file or folder.\n"


def test_module_runs_as_a_program(tmp_path):
    result = fresh.command("-m", "kbp", "list", cwd=tmp_path)
    assert result.returncode == 0
    assert zoo.DEFAULT in result.stdout


def test_zoo_names_the_nearest_entry():
    with pytest.raises(UserError, match=r"did you mean 'pyramid_bpnet_small"):
        zoo.find("pyramid_bpnet_smal.digits")


def test_benchmark_names_what_there_is(call):
    status, _, err = call("benchmark", "optimisers")
    assert status == 2
    assert "unknown benchmark 'optimisers'; did you mean 'optimizers'?" in err
    status, _, err = call("benchmark", "none.tflite")
    assert status == 2
    assert "none.tflite: no such file" in err


def own_metric(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred))


def test_a_file_compiled_with_ones_own_metric_is_exported(call, tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("adam", own_metric, metrics=[own_metric])
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "some.npy", np.eye(4, dtype="float32"))
    out = tmp_path / "small.tflite"
    status, printed, err = call(
        *("export", tmp_path / "model.keras", out),
        *("--calibrate", tmp_path / "some.npy"),
    )
    assert (status, err) == (0, "")
    assert "0 of them float" in printed


def test_a_command_names_options_and_the_library_arguments(call, folder):
    recipe = Recipe.parse(
        json.loads((folder / "run.json").read_text())["recipe"]
    )
    with pytest.raises(UserError, match=r"`resume=True` .* another `workdir=`"):
        training.run(recipe, folder)
    own = folder / "recipe.toml"
    status, _, err = call("train", own, "--workdir", folder)
    assert status == 2
    assert "Give --resume to continue or show it, or another --workdir" in err
    for resume in ([], ["--resume"]):
        status, _, err = call(
            "train", zoo.DEFAULT, "--workdir", folder, *resume
        )
        assert status == 2
        assert f"another --workdir, or go on with {own}." in err


def test_an_interrupted_run_says_how_to_go_on(call, tmp_path, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(training.pipeline.Pipeline, "run", interrupted)
    status, _, err = call("train", "--workdir", tmp_path / "run")
    assert status == 130
    assert err == (
        f"kbp: error: interrupted. {tmp_path}/run: stopped. Call it again with "
        "the same --workdir and --resume, to go on from the last checkpoint.\n"
    )


@pytest.mark.slow
def test_nothing_but_errors_is_on_standard_error(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "some.npy", np.eye(4, dtype="float32"))
    words = ("-m", "kbp", "export", "model.keras", "small.tflite")
    made = fresh.command(
        *(*words, "--calibrate", "some.npy"),
        cwd=tmp_path,
        TF_CPP_MIN_LOG_LEVEL="2",
    )
    assert (made.returncode, made.stderr) == (0, "")
    again = fresh.command(*words, cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr == (
        "kbp: error: small.tflite: exists. Choose another name.\n"
    )


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [
        (signal.SIGINT, 130, "interrupted."),
        (signal.SIGTERM, 143, "terminated."),
    ],
)
@pytest.mark.parametrize("command", ["list", "audit", "export", "dev publish"])
def test_a_signal_is_one_line(
    call, tmp_path, monkeypatch, command, number, status, word
):
    module = importlib.import_module(f"kbp.commands.{COMMANDS[command]}")

    def stopped(options, console):
        signal.raise_signal(number)

    monkeypatch.setattr(module, "run", stopped)
    words = {"list": [], "audit": ["a.tflite"]}.get(command, ["a", "b"])
    handler = signal.getsignal(signal.SIGTERM)
    assert call(*command.split(), *words) == (
        status,
        "",
        f"kbp: error: {word}\n",
    )
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_file_is_written_leaves_none(
    call, folder, tmp_path, monkeypatch, number
):
    rename = os.replace, os.rename

    def stopped(*arguments):
        signal.raise_signal(number)
        rename[0](*arguments)

    monkeypatch.setattr(os, "replace", stopped)
    monkeypatch.setattr(os, "rename", stopped)
    for out in ("small.tflite", "saved"):
        status, _, err = call("export", folder / "model.keras", tmp_path / out)
        assert status == 128 + number
        assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("stream", "status"), [("> /dev/full", 2), (">&-", 0), ("| true", 141)]
)
def test_output_that_nobody_takes_is_no_traceback(stream, status):
    words = f"{shlex.quote(sys.executable)} -m kbp list"
    script = f"set -o pipefail; {{ sleep 0.2; {words}; }} {stream}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=fresh.ROOT
    )
    assert done.returncode == status
    assert done.stderr.count("\n") == (status == 2)
    assert "Traceback" not in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_names_that_no_console_shows_do_no_harm(locale, tmp_path):
    code = (
        "import os, sys; from kbp.__main__ import main; "
        "name = os.fsdecode(b'caf\\xe9'); "
        "sys.exit(main(['dev', 'publish', name, 'results']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0"},
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"kbp: error: unknown zoo entry 'caf")
    assert done.stderr.count(b"\n") == 1
