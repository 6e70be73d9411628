"""Files that are no models, and paths that are of no such file."""

import flatbuffers
import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import kbp
from kbp.__main__ import main
from kbp.errors import UserError
from kbp.export import Runner, audit, trial, verify
from kbp.inference.loading import open_model


@pytest.fixture(scope="module")
def model():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


@pytest.fixture(scope="module")
def content(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "model.tflite"
    kbp.export.to_tflite(model, path)
    return path.read_bytes()


FILES = {
    "nothing": lambda content: b"",
    "short": lambda content: b"\0\0\0\0TFL3",
    "zeros": lambda content: b"\0\0\0\0TFL3" + bytes(1000),
    "a table of zeros": lambda content: b"\x10\0\0\0TFL3" + bytes(1000),
    "ones": lambda content: b"\xff\xff\xff\xffTFL3" + b"\xff" * 1000,
    "random": lambda content: (
        b"\x20\0\0\0TFL3" + np.random.default_rng(0).bytes(10_000)
    ),
    "half": lambda content: content[: len(content) // 2],
    "without the end of its tables": lambda content: content[
        : content.index(b"PK\3\4") - 1
    ],
    "text": lambda content: b"a model, honestly",
}


@pytest.mark.parametrize("make", FILES.values(), ids=FILES)
def test_what_is_no_tflite_file_is_one_line(make, content, tmp_path, capsys):
    path = tmp_path / "model.tflite"
    path.write_bytes(make(content))
    for read in (audit, Runner, open_model):
        with pytest.raises(ValueError, match=r"model\.tflite") as error:
            read(path)
        assert "\n" not in str(error.value)
    image = tmp_path / "image.npy"
    np.save(image, np.zeros((1, 4), "float32"))
    for words in (
        ["audit", path],
        ["benchmark", path, "--rounds", "1"],
        ["predict", path, image],
        ["export", path, tmp_path / "out.tflite"],
        ["evaluate", path],
    ):
        assert main([str(word) for word in words]) == 2, words
        said = capsys.readouterr().err
        assert said.startswith("kbp: error: ")
        assert said.count("\n") == 1
    assert {x.name for x in tmp_path.iterdir()} == {path.name, image.name}


@pytest.mark.parametrize(
    "name", ["a.h5", "a.keras", "a.onnx", "a.pb", "a.TFLITE", "a.tflite.gz"]
)
def test_other_files_are_not_written(name, model, tmp_path):
    with pytest.raises(ValueError, match="Argument `path` must be"):
        kbp.export.to_tflite(model, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_saved_model_is_no_tflite_file(model, tmp_path):
    for name in ("a.tflite", "a.h5", "a.keras"):
        with pytest.raises(ValueError, match="`path` must be a folder"):
            kbp.export.to_saved_model(model, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_that_asks_for_memory_is_refused(content, tmp_path):
    path = tmp_path / "model.tflite"
    tree = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = tree.subgraphs[0]
    graph.tensors[graph.inputs[0]].shape = [2**30, 2**20]
    builder = flatbuffers.Builder()
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(builder.Output())
    for read in (audit, Runner, open_model):
        with pytest.raises(ValueError, match=r"its tensors have .* bytes"):
            read(path)
    with pytest.raises(UserError, match=r"model\.tflite"):
        open_model(path)


@pytest.fixture
def crashing(content, tmp_path, monkeypatch):
    """A file that LiteRT seems to crash on, in whatever process runs it."""
    monkeypatch.setattr(trial, "_trusted", set())
    killed = "import os; os.kill(os.getpid(), 11)"
    monkeypatch.setattr(trial, "_CODE", killed)
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    return path


def test_a_file_that_crashes_its_process_is_one_line(crashing, model, capsys):
    for read in (
        Runner,
        open_model,
        lambda path: Runner(path, reference=True),
        lambda path: verify(model, path, np.zeros((1, 4))),
        lambda path: kbp.export.benchmark([path]),
    ):
        with pytest.raises(UserError, match=r"LiteRT crashes .*\(signal 11\)"):
            read(crashing)
    assert main(["benchmark", str(crashing)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_this_process_has_made_needs_no_trial(model, crashing, tmp_path):
    own = tmp_path / "own.tflite"
    kbp.export.to_tflite(model, own)
    for reference in (False, True):
        Runner(own, reference=reference)
    own.write_bytes(own.read_bytes() + b"\0" * 16)
    with pytest.raises(UserError, match="LiteRT crashes when it runs it"):
        Runner(own)


def test_a_trial_is_made_once_and_imports_nothing_from_here(
    content, tmp_path, monkeypatch
):
    monkeypatch.setattr(trial, "_trusted", set())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "numpy.py").write_text("import os; os.abort()")
    (tmp_path / "model.tflite").write_bytes(content)
    Runner("model.tflite")
    monkeypatch.setattr(trial.subprocess, "run", None)
    Runner("model.tflite")
    with pytest.raises(TypeError, match="NoneType"):
        Runner("model.tflite", reference=True)


def test_a_trial_without_an_end_is_refused(content, monkeypatch):
    monkeypatch.setattr(trial, "_trusted", set())
    monkeypatch.setattr(trial, "_SECONDS", {False: 0.1})
    monkeypatch.setattr(trial, "_CODE", "import time; time.sleep(9)")
    with pytest.raises(UserError, match=r"LiteRT runs it for more than 0\.1"):
        trial.try_out(content, "a")
