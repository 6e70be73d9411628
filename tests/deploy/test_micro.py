"""C++ for TensorFlow Lite Micro, and what it was measured by."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest

from kbp import deploy, export, zoo
from kbp.deploy.targets.micro import method_of
from kbp.errors import UserError

STUBS = Path(__file__).parent / "stubs"
ENTRY = "pyramid_bpnet_small.digits"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("tflite_micro")
    return deploy.deploy(ENTRY, "micro", tmp_path_factory.mktemp("m") / "app")


def array(text, name):
    body = re.search(rf"{name}\[\] = {{(.*?)}};", text, re.DOTALL)[1]
    return np.array([int(x) for x in body.split(",")])


def test_the_array_is_the_file(folder):
    found = array((folder / "model.cc").read_text(), "kModel")
    assert found.astype("uint8").tobytes() == zoo.file(ENTRY).read_bytes()


def test_the_resolver_has_these_operations_alone(folder):
    text = (folder / "main.cc").read_text()
    found = re.findall(r"resolver\.Add(\w+)\(", text)
    names = {op.name for op in export.audit(zoo.file(ENTRY)).operations}
    assert f"MicroMutableOpResolver<{len(names)}>" in text
    assert len(found) == len({*found}) == len(names)
    assert {"Conv2D", "FullyConnected", "MaxPool2D"} <= {*found}


def test_golden_outputs_are_near_those_of_litert(folder):
    text = (folder / "golden.h").read_text()
    runner = export.Runner(zoo.file(ENTRY))
    inputs = array(text, "kInput").astype("int8").reshape(1, 32, 32, 1)
    (right,) = runner.run([inputs])
    gap = np.abs(array(text, "kOutput") - right.astype(int).ravel())
    assert gap.max() <= 2
    assert np.ptp(right.astype(int)) > 50


def test_the_arena_is_enough_and_16_bytes_aligned(folder):
    from tflite_micro.python.tflite_micro import runtime

    text = (folder / "model.h").read_text()
    arena = int(re.search(r"kArenaSize = (\d+)", text)[1])
    content = zoo.file(ENTRY).read_bytes()
    runtime.Interpreter.from_bytes(content, arena_size=arena)
    with pytest.raises(RuntimeError):
        runtime.Interpreter.from_bytes(content, arena_size=arena - 64)
    assert arena % 16 == 0


def test_an_arena_that_planning_fills_grows(tmp_path):
    pytest.importorskip("tflite_micro")
    inputs = x = keras.Input((4,))
    for name in "abcdefghijklmnop":
        x = keras.layers.Add()([x, keras.layers.Dense(4, name=name)(x)])
    path = tmp_path / "model.tflite"
    outputs = keras.layers.Dense(3)(x)
    export.to_tflite(keras.Model(inputs, outputs), path)
    content = path.read_bytes()
    folder = deploy.deploy(path, "micro", tmp_path / "app")
    from tflite_micro.python.tflite_micro import runtime

    text = (folder / "model.h").read_text()
    arena = int(re.search(r"kArenaSize = (\d+)", text)[1])
    runtime.Interpreter.from_bytes(content, arena_size=arena).invoke()


@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
@pytest.mark.parametrize("file", ["main.cc", "model.cc"])
def test_the_code_is_valid_against_declarations_of_what_it_uses(folder, file):
    words = ["-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"]
    result = subprocess.run(
        ["g++", *words, "-I", STUBS, folder / file],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


def test_without_the_package_the_line_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'kbp\[micro\]'"):
        deploy.deploy(ENTRY, "micro", tmp_path / "app")
    assert not [*tmp_path.iterdir()]


def test_an_operation_that_is_not_there_is_named_with_its_layer(tmp_path):
    pytest.importorskip("tflite_micro")
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(inputs)
    x = keras.layers.Dense(6, activation="gelu", name="bend")(x)
    outputs = keras.layers.Dense(3)(x)
    path = tmp_path / "model.tflite"
    export.to_tflite(keras.Model(inputs, outputs), path)
    assert "GELU" in [op.name for op in export.audit(path).operations]
    with pytest.raises(UserError, match=r"no operation GELU \(layer bend\)"):
        deploy.deploy(path, "micro", tmp_path / "app")


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("AVERAGE_POOL_2D", "AddAveragePool2D"),
        ("BATCH_TO_SPACE_ND", "AddBatchToSpaceNd"),
        ("CUMSUM", "AddCumSum"),
        ("L2_POOL_2D", "AddL2Pool2D"),
        ("PADV2", "AddPadV2"),
        ("RELU6", "AddRelu6"),
        ("SPLIT_V", "AddSplitV"),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "AddUnidirectionalSequenceLSTM"),
    ],
)
def test_operations_are_added_by_the_names_of_the_runtime(name, method):
    assert method_of(name) == method
