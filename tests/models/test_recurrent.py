"""Recurrent networks as a family: built, trained, exported, refused."""

import io
import tomllib

import keras
import numpy as np
import pandas as pd
import pytest
from contracts import as_numpy
from rich.console import Console

import kbp
from kbp import models
from kbp.layers import TruncatedRNN
from kbp.recipes import Recipe
from kbp.training.runs import run

RNG = np.random.default_rng(0)
RECIPE = """
[model]
architecture = "recurrent"
cell = "gru"
width = 4
truncation = 3
[data]
name = "csv_series"
file = "{file}"
time_column = "time"
lookback = 8
horizon = 2
[training]
epochs = 2
batch_size = 16
[quantization]
enabled = false
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("cell", "mode"),
    [("lstm", None), ("gru", "blocks"), ("simple", "randomized")],
)
def test_each_cell_forecasts_and_learns(cell, mode):
    truncated = {"truncation": 3, "truncation_mode": mode} if mode else {}
    model = models.Recurrent(
        (6, 2),
        4,
        head="forecasting",
        cell=cell,
        width=5,
        num_layers=2,
        dropout=0.1,
        l2=1e-4,
        **truncated,
    )
    kinds = [isinstance(x, TruncatedRNN) for x in model.layers]
    assert sum(kinds) == (2 if mode else 0)
    x, y = RNG.normal(size=(8, 6, 2)), RNG.normal(size=(8, 4, 2))
    assert model.output_shape == (None, 4, 2)
    before = [as_numpy(v) for v in model.trainable_variables]
    model.compile("sgd", "mse")
    model.fit(x, y, epochs=2, verbose=0)
    for old, new in zip(before, model.trainable_variables, strict=True):
        assert not np.array_equal(old, as_numpy(new)), new.path
    assert len(model.losses) == 5  # two kernels of two layers, and the last


def test_forecast_has_the_units_of_the_window():
    model = models.Recurrent((6, 2), 4, head="forecasting", width=5)
    x = RNG.normal(size=(8, 6, 2)).astype("f4")
    scale, shift = np.array([3.0, 0.01]), np.array([50.0, -2.0])
    found = model.predict(x * scale + shift, verbose=0)
    expected = model.predict(x, verbose=0) * scale + shift
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_classifier_gives_logits():
    model = models.Recurrent((6, 2), 3, cell="simple", width=5)
    assert model.output_shape == (None, 3)
    plain = models.Recurrent(
        (6, 2), 4, head="forecasting", width=5, normalize=False
    )
    assert plain.output_shape == (None, 4, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cell": "rnn"}, r"`cell` must be one of.*'rnn'"),
        ({"head": "segmentation"}, "`head` must be one of"),
        ({"truncation": 0}, "`truncation` must be"),
        ({"truncation": 7}, "at most the window's 6 time steps"),
        ({"truncation_mode": "sliding"}, "no effect without `truncation`"),
        (
            {"truncation": 2, "truncation_mode": "odd"},
            "`truncation_mode` must be",
        ),
        ({"normalize": False}, "`normalize` is for head='forecasting'"),
        ({"streams": 4}, "`streams` is for head='forecasting'"),
        ({"dropout": 1.0}, "`dropout` must be"),
        ({"num_layers": 0}, "`num_layers` must be"),
    ],
)
def test_wrong_argument_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        models.Recurrent((6, 2), 3, **wrong)


@pytest.fixture
def file(tmp_path):
    times = pd.date_range("2024-01-01", periods=200, freq="h")
    rows = np.arange(200)
    frame = pd.DataFrame(
        {"a": np.sin(rows / 3), "b": 50 + np.cos(rows / 5)}, index=times
    )
    path = tmp_path / "series.csv"
    path.write_text(frame.to_csv(index_label="time"))
    return path


@pytest.mark.long
def test_recipe_trains_and_exports_in_float(file, tmp_path):
    recipe = Recipe.parse(tomllib.loads(RECIPE.format(file=file)))
    run(recipe, tmp_path / "run", console=Console(file=io.StringIO()))
    (exported,) = (tmp_path / "run").glob("*.tflite")
    model = kbp.inference.loading.load_keras(tmp_path / "run" / "model.keras")
    x = RNG.normal(size=(1, 8, 2)).astype("f4")
    runner = kbp.export.Runner(exported)
    np.testing.assert_allclose(
        runner.predict(x), model.predict(x, verbose=0), atol=1e-4
    )
    assert any(isinstance(each, TruncatedRNN) for each in model.layers)
    assert isinstance(model, keras.Model)


@pytest.mark.long
def test_eight_bits_forecast_as_the_trained_network_does(file, tmp_path):
    text = RECIPE.format(file=file).replace("enabled = false", "epochs = 1")
    recipe = Recipe.parse(tomllib.loads(text))
    run(recipe, tmp_path / "run", console=Console(file=io.StringIO()))
    model = kbp.inference.loading.load_keras(tmp_path / "run" / "model.keras")
    x = RNG.normal(size=(1, 8, 2)).astype("f4")
    runner = kbp.export.Runner(tmp_path / "run" / "model_int8.tflite")
    right = model.predict(x, verbose=0)
    np.testing.assert_allclose(runner.predict(x), right, atol=0.3)
