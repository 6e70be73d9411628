"""Saved models load once kbp is imported, however Python was started."""

import sys

import fresh
import keras
import numpy as np
import pytest
from contracts import as_numpy

import kbp
from kbp import _registration

ROOMS = ("layers", "quantization", "training")

LOAD = """
import sys
import {first}
import {second}
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
assert [type(layer).__name__ for layer in model.layers][-1] == "QuantizedLayer"
print(float(keras.ops.sum(model(keras.ops.ones((1, 4))))))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A file that holds classes of several rooms, and its model's output."""
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    inputs = keras.Input((4,))
    masked = kbp.layers.DTMDense(3)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(masked))
    model = kbp.quantization.quantize_aware(model, [np.ones((2, 4), "f4")])
    model = keras.Model(model.input, model.layers[-2].output)
    model.compile(kbp.HybridOptimizer(), kbp.losses.DiceCrossEntropy())
    model.save(path)
    return path, float(as_numpy(model(np.ones((1, 4)))).sum())


@pytest.mark.long
@pytest.mark.parametrize(
    "first", ["kbp", pytest.param("keras", marks=pytest.mark.slow)]
)
def test_loads_whichever_is_imported_first(saved, first):
    path, expected = saved
    second = "keras" if first == "kbp" else "kbp"
    code = LOAD.format(first=first, second=second)
    assert float(fresh.python(code, path)) == expected


@pytest.mark.slow
def test_loads_after_others_have_looked_for_keras(saved):
    path, expected = saved
    look = "import importlib.util, kbp\nimportlib.util.find_spec('keras')"
    code = look + LOAD.format(first="kbp", second="keras")
    assert float(fresh.python(code, path)) == expected


SLOW = pytest.mark.slow  # another process for what hardly differs


@pytest.mark.long
@pytest.mark.parametrize(
    "room",
    ["kbp.graph", *(pytest.param(f"kbp.{x}", marks=SLOW) for x in ROOMS)],
)
def test_loads_after_a_room_alone_was_imported(saved, room):
    path, expected = saved
    code = f"import {room}" + LOAD.format(first="keras", second="keras")
    assert float(fresh.python(code, path)) == expected


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "kbp",
        pytest.param("script.py", marks=SLOW),
        pytest.param("ipykernel_launcher.py", marks=SLOW),
    ],
)
def test_loads_in_a_script_of_any_name(saved, tmp_path, name):
    path, expected = saved
    (tmp_path / name).write_text(LOAD.format(first="kbp", second="keras"))
    done = fresh.command(tmp_path / name, path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) == expected


@pytest.mark.slow
def test_loads_under_another_module(saved, tmp_path):
    path, expected = saved
    package = tmp_path / "other"
    package.mkdir()
    code = LOAD.format(first="kbp", second="keras")
    (package / "__main__.py").write_text(code)
    done = fresh.command("-m", "other", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) == expected


def test_every_class_that_is_registered_has_a_stand_in():
    for room in _registration.ROOMS:
        for module in fresh.PACKAGE.joinpath(room).rglob("*.py"):
            name = module.relative_to(fresh.PACKAGE.parent).with_suffix("")
            __import__(".".join(name.parts))
    registered = {
        (kind.__module__, kind.__name__)
        for name, kind in keras.saving.get_custom_objects().items()
        if name.startswith("kbp>")
        and not isinstance(kind, _registration.Deferred)
    }
    assert registered == set(_registration.registered_classes())
    assert len(registered) > 20


def test_importing_kbp_imports_nothing_heavy():
    heavy = fresh.python(
        """
import sys
import kbp
roots = {"keras", "tensorflow", "jax", "numpy", "kbp.benchmarks"}
print(sorted(roots & {*sys.modules}))
"""
    )
    assert heavy.strip() == "[]"
    assert "kbp" in sys.modules
