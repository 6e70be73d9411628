"""`kbp verify`."""

import numpy as np
import pytest

from kbp import zoo
from kbp.__main__ import main
from kbp.export.interpreter import allocate
from kbp.export.runtimes import RUNTIMES, Runtime
from kbp.export.runtimes.calls import outputs_of

DIGITS = zoo.DEFAULT


@pytest.fixture
def call(capsys):
    def call(*words):
        status = main(["verify", *map(str, words)])
        out, err = capsys.readouterr()
        return status, out, err

    return call


def add(monkeypatch, steps):
    """Add a runtime that answers some steps above what is right."""

    class Moved(Runtime):
        version = "1"

        def run(self, content, calls):
            found = outputs_of(allocate(content), calls)
            return [[x + np.int8(steps) for x in call] for call in found]

    _ = [*RUNTIMES]  # the others are there first
    monkeypatch.setitem(RUNTIMES._objects, "moved", Moved())


def test_near_runtimes_are_a_table_and_status_0(call, monkeypatch):
    add(monkeypatch, 1)
    status, out, err = call(DIGITS, "--runtimes", "litert,moved")
    assert (status, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert ["litert", "100.00%", "100.00%", "0", "-", "-"] in rows
    (moved,) = [row for row in rows if row[:1] == ["moved"]]
    assert moved[1:4] == ["0.00%", "100.00%", "1"]
    assert "SPACE_TO_DEPTH" in out


def test_a_runtime_that_is_far_away_is_named_with_status_1(call, monkeypatch):
    add(monkeypatch, 2)
    status, out, _ = call(DIGITS, "--runtimes", "moved")
    assert status == 1
    assert "moved: too far away" in " ".join(out.split())


def test_runtimes_that_are_absent_say_why(call, monkeypatch):
    for name in ("micro", "web"):
        monkeypatch.setattr(
            type(RUNTIMES[name]), "missing", lambda self: "pip install it"
        )
    status, out, _ = call(DIGITS)
    assert status == 0
    assert "micro: not run. pip install it" in out
    assert "web: not run. pip install it" in out
    status, _, err = call(DIGITS, "--runtimes", "litert,micro")
    assert (status, err) == (2, "kbp: error: pip install it\n")


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_examples_are_those_of_a_file(call, tmp_path, kind):
    path = tmp_path / f"examples.{kind}"
    x = np.zeros((2, 32, 32, 1), "float32")
    if kind == "npy":
        np.save(path, x)
    else:
        np.savez(path, x=x, y=[1, 2])
    status, out, _ = call(DIGITS, "--runtimes", "litert", "--data", path)
    assert status == 0
    assert "20 outputs" in out


def test_a_file_alone_gets_noise_in_its_range(call, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(zoo.file(DIGITS).read_bytes())
    status, out, _ = call(path, "--runtimes", "litert")
    assert status == 0
    assert "40 outputs" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none"], "none: no such file or folder"),
        (["empty"], "empty: holds none of model.keras"),
        (["text.tflite"], "text.tflite: not a .tflite file"),
        (["model.keras"], "model.keras: holds no .tflite file"),
        ([DIGITS, "--runtimes", "litrt"], "did you mean 'litert'?"),
        ([DIGITS, "--runtimes", ""], "runtime: unknown ''"),
        ([DIGITS, "--data", "none.npy"], "none.npy: cannot be read"),
        ([DIGITS, "--data", "wrong.npy"], "(batch, 32, 32, 1)"),
    ],
)
def test_bad_input_is_one_line(call, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.tflite").write_text("no model at all")
    (tmp_path / "model.keras").touch()
    np.save("wrong.npy", np.zeros((2, 8, 8, 1)))
    status, out, err = call(*words)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
