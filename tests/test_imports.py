"""Who may import whom, and what importing does."""

import ast
from pathlib import Path

import fresh
import pytest

from kbp.__main__ import COMMANDS

PACKAGE = fresh.PACKAGE
BACKEND_NEUTRAL = (
    "diagnostics",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "sparsity",
    "spiking",
)
FOR_TENSORFLOW = {
    Path("optimizers/tensorflow_execution.py"),
    Path("diagnostics/backends/on_tensorflow.py"),
}
BASE = {"_utils", "errors", "_compat"}
# Each room with those below it that it may import.
ALLOWED = {
    "errors": set(),
    "_utils": {"errors"},
    "_compat": set(),
    "layers": set(),
    "losses": set(),
    "metrics": {"layers"},
    "optimizers": set(),
    "models": {"layers", "spiking"},
    "graph": {"layers"},
    "sparsity": {"layers", "graph"},
    "quantization": {"sparsity", "layers", "models", "graph"},
    "export": {"quantization", "sparsity", "layers", "graph"},
    "data": set(),
    "inference": {"data", "export", "graph"},
    "diagnostics": {"layers", "optimizers"},
    "spiking": {"layers", "graph"},
}
ABOVE = {
    *(
        "tasks",
        "recipes",
        "reports",
        "training",
        "federated",
        "benchmarks",
        "commands",
        "deploy",
    ),
    *("zoo", "hub", "sources", "__init__", "__main__", "_registration"),
}
NEVER = {
    "inference": {"training"},
    "reports": {"training"},
    "tasks": {"training"},
    "recipes": {"training"},
    "training": {"commands"},
}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        if inside.parts[0] != "_zoo":
            yield inside, ast.parse(path.read_text())


def imported(tree):
    """Yield the names of modules that are imported when the code runs."""
    for_types = {
        inside
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inside in ast.walk(node)
    }
    for node in {*ast.walk(tree)} - for_types:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            if node.module == "kbp":
                yield from (f"kbp.{alias.name}" for alias in node.names)
            else:
                yield node.module


def test_rooms_import_only_what_stands_before_them():
    for path, tree in modules():
        room = path.parts[0].removesuffix(".py")
        rooms = {
            name.split(".")[1] for name in imported(tree) if name[:4] == "kbp."
        }
        if room in ALLOWED:
            assert rooms <= {room, *BASE, *ALLOWED[room]}, path
        else:
            assert room in ABOVE, path
        assert not rooms & NEVER.get(room, set()), path
        if room not in ("commands", "benchmarks"):
            assert "benchmarks" not in rooms, path
        if room not in ("commands", "__main__"):
            assert "commands" not in rooms, path


def test_private_names_of_others_stay_in_one_module():
    for path, tree in modules():
        if path.parts[0] == "_compat.py":
            continue
        for name in imported(tree):
            first, *rest = name.split(".")
            private = first != "kbp" and any(x[0] == "_" for x in rest)
            assert not private, (path, name)


def test_backend_neutral_rooms_do_not_import_tensorflow():
    for path, tree in modules():
        roots = {name.split(".")[0] for name in imported(tree)}
        if path in FOR_TENSORFLOW:
            continue  # imported where TensorFlow is Keras's backend
        if path.parts[0] in BACKEND_NEUTRAL:
            assert "tensorflow" not in roots, path
        if path != Path("quantization/tfmot.py"):
            assert "tensorflow_model_optimization" not in roots, path
            assert "tf_keras" not in roots, path


def test_nobody_uses_keras_internals_or_asserts():
    for path, tree in modules():
        assert not any("keras.src" in name for name in imported(tree)), path
        assert not any(isinstance(n, ast.Assert) for n in ast.walk(tree)), path


@pytest.mark.long
def test_importing_kbp_is_clean():
    fresh.python(
        """
import os, sys
before = dict(os.environ)
import keras
after_keras = dict(os.environ)
import kbp
assert dict(os.environ) == after_keras
assert "tensorflow_model_optimization" not in sys.modules
assert "tf_keras" not in sys.modules
for name in ("TF_USE_LEGACY_KERAS", "CUDA_VISIBLE_DEVICES"):
    assert os.environ.get(name) == before.get(name)
"""
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["list"],
        # What `forecast` takes is its task's to say.
        *([*c.split(), "--help"] for c in COMMANDS if c != "forecast"),
    ],
    ids=" ".join,
)
def test_what_needs_no_model_imports_no_tensorflow(arguments):
    said = fresh.python(
        """
import contextlib, sys
from kbp.__main__ import main
with contextlib.suppress(SystemExit):
    assert main(sys.argv[1:]) == 0
assert not {"keras", "tensorflow", "kbp.benchmarks"} & {*sys.modules}
""",
        *arguments,
    )
    assert said.strip()


@pytest.mark.long
def test_using_tfmot_leaves_keras_and_the_environment_alone():
    fresh.python(
        """
import os, warnings
import kbp, keras
before = dict(os.environ)
layer = kbp.quantization.FakeQuantize()
layer.build((None, 3))
assert dict(os.environ) == before
import tensorflow as tf
assert tf.keras.Model is keras.Model
"""
    )


@pytest.mark.long
def test_kbp_imports_without_tensorflow_on_another_backend():
    pytest.importorskip("jax")
    fresh.python(
        """
import sys
sys.modules["tensorflow"] = None  # as if it were not installed
import kbp
model = kbp.sparsity.apply_dtm(kbp.models.PyramidBPNet((8, 8, 1), 3, width=4))
assert model.output_shape == (None, 3)
""",
        KERAS_BACKEND="jax",
    )
