"""Files that are no models, and paths that are of no such file."""

import keras
import numpy as np
import pytest

import kbp
from kbp.__main__ import main
from kbp.errors import UserError
from kbp.export import Runner, audit
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
    "without its end": lambda content: content[:-1],
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
    shape = np.array([1, 4], "<i4").tobytes()
    assert shape in content
    huge = np.array([2**30, 2**20], "<i4").tobytes()
    path.write_bytes(content.replace(shape, huge))
    for read in (audit, Runner, open_model):
        with pytest.raises(ValueError, match=r"its tensors have .* bytes"):
            read(path)
    with pytest.raises(UserError, match=r"model\.tflite"):
        open_model(path)
