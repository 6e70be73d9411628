"""What the default recipe promises, measured on a whole run: minutes."""

import json

import fresh
import pytest

from kbp import export


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "default"
    process = fresh.command(fresh.ROOT / "train.py", "--workdir", folder)
    assert process.returncode == 0, process.stderr[-2000:]
    return folder, json.loads((folder / "run.json").read_text())


@pytest.mark.slow
def test_default_recipe_keeps_its_promises(result):
    folder, run = result
    trained, pruned, *_, dense, whole, small = run["stages"]
    assert trained["score"] >= 0.98
    assert trained["score"] - small["score"] <= 0.005
    assert pruned["score"] == dense["score"] == whole["score"]
    assert pruned["score"] == pytest.approx(trained["score"], abs=0.003)
    assert pruned["parameters"] <= 0.3 * trained["parameters"]
    assert whole["speed_up"] >= 3
    assert small["speed_up"] >= 3
    assert run["verification"]["within_one"] >= 0.99
    assert not export.audit(folder / "model_int8.tflite").float_operations
    assert run["seconds"] <= 240
    assert run["peak_memory_bytes"] <= 3e9
