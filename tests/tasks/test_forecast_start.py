"""Where runs of forecasts start, and that they are never worse than naive."""

import io
import lzma
import re

import fresh
import numpy as np
import pytest
from rich.console import Console

from kbp import export, training, zoo
from kbp.errors import UserError
from kbp.inference.loading import load_keras
from kbp.recipes import Recipe
from kbp.tasks import make_task

ROWS = 700


def write(file, values):
    lines = ["a,b", *(f"{a:.6f},{b:.6f}" for a, b in values)]
    file.write_text("\n".join(lines) + "\n")
    return file


def recipe(file, **sections):
    own = {"name": "csv_series", "file": str(file), "lookback": 32}
    model = {"architecture": "bp_transformer", "num_layers": 1, "width": 8}
    return Recipe.parse(
        {
            "model": {**model, "num_heads": 2, "patch_size": 8},
            "data": {**own, "horizon": 8, **sections.pop("data", {})},
            "training": {"epochs": 2, "keep_best": True},
            "quantization": {"epochs": 1, "float_attention": True},
            "export": {"benchmark_rounds": 1},
            **sections,
        }
    )


@pytest.fixture
def random_walk(tmp_path):
    """Two series of which nothing is known but the last value."""
    steps = np.random.default_rng(0).normal(size=(ROWS, 2))
    return write(tmp_path / "walk.csv", np.cumsum(steps, axis=0))


@pytest.mark.slow
def test_random_walk_is_never_forecast_worse_than_by_its_last_value(
    random_walk, tmp_path
):
    mine = recipe(random_walk)
    console = Console(file=io.StringIO(), width=400)
    folder = tmp_path / "run"
    training.run(mine, folder, console=console)
    task = make_task(mine)
    windows = task.splits.validation
    naive = np.repeat(windows.past[:, -1:], 8, axis=1)
    # The loss that is watched is Huber's, which has the same order here.
    worst = task.score(naive, "validation")
    inputs = task.inputs("validation")
    trained = load_keras(folder / "model.keras").predict(inputs, verbose=0)
    assert task.score(trained, "validation") <= worst * (1 + 1e-6)
    # Eight bits of the window's range are little beside a random walk.
    int8 = export.Runner(folder / "model_int8.tflite").predict(inputs)
    assert task.score(int8, "validation") < 1.01 * worst
    said = console.file.getvalue()
    assert "Training starts at 'repeat last'" in said
    assert re.search(r"(As good as|Better than) the model: [^:]*repeat", said)


def test_start_is_the_forecast_of_the_least_validation_loss(tmp_path):
    rows = np.arange(ROWS)[:, None]
    noise = np.random.default_rng(0).normal(size=(ROWS, 2))
    wave = write(tmp_path / "wave.csv", np.sin(rows / [3, 5]) + 0.1 * noise)
    task = make_task(recipe(wave, loss={"error": "mae"}))
    assert min(task.starts, key=task.starts.get) == "ridge"
    windows = task.splits.validation
    expected = np.abs(windows.past[:, -1:].astype("f8") - windows.labels)
    assert task.starts["repeat last"] == pytest.approx(expected.mean(), 1e-12)
    inputs = task.inputs("validation")
    model = task.start(task.build())
    found = np.abs(model.predict(inputs, verbose=0) - windows.labels).mean()
    assert found == pytest.approx(task.starts["ridge"], rel=1e-5)
    (table, *_) = task.tables(np.zeros_like(task.splits.test.labels)).values()
    assert "Training starts at 'ridge'" in table.remark


PACKED = fresh.ROOT.parent / "shared" / "data" / "ETTh2.csv.xz"


def test_entry_of_etth2_still_starts_at_its_ridge(tmp_path):
    if not PACKED.is_file():
        pytest.skip(f"the data set ETTh2 is not in {PACKED.parent}")
    (tmp_path / "ETT-small").mkdir()
    unpacked = lzma.decompress(PACKED.read_bytes())
    (tmp_path / "ETT-small" / "ETTh2.csv").write_bytes(unpacked)
    entry = zoo.find("bp_transformer_small.etth2_96").recipe
    assert entry.training.keep_best
    starts = make_task(entry, tmp_path).starts
    assert [*starts] == [
        *("ridge", "repeat last", "repeat last day", "repeat last week")
    ]
    assert min(starts, key=starts.get) == "ridge"


def test_only_what_keeps_the_best_chooses_its_start(random_walk):
    task = make_task(recipe(random_walk, training={"epochs": 1}))
    kernel = np.array(task.start(task.build()).get_layer("linear_skip").kernel)
    np.testing.assert_allclose(kernel, task.ridge_kernel)
    tables = task.tables(np.zeros_like(task.splits.test.labels))
    assert not any("can start" in heading for heading in tables)


def test_median_may_be_learned_instead_of_the_mean(random_walk):
    task = make_task(
        recipe(random_walk, loss={"error": "quantile", "quantile": 0.9})
    )
    low, high = np.zeros((1, 1, 1)), np.ones((1, 1, 1))
    assert float(task.loss(high, low)) == pytest.approx(0.9)
    assert float(task.loss(low, high)) == pytest.approx(0.1)
    assert set(task.starts) == {"ridge", "repeat last"}
    with pytest.raises(UserError, match=r"loss\.quantile has no effect"):
        make_task(recipe(random_walk, loss={"quantile": 0.9}))
