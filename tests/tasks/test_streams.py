"""Recurrent networks whose states go on from batch to batch."""

import numpy as np
import pandas as pd
import pytest
import small

from kbp import data
from kbp.data.series import Windows
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import make_task
from kbp.tasks.forecasts.streams import Streams
from kbp.training import checkpoint

LOOKBACK, HORIZON = 6, 2


@pytest.mark.long
@pytest.mark.parametrize("seed", range(8))
def test_places_of_batches_go_along_the_series(seed):
    rng = np.random.default_rng(seed)
    rows, count = int(rng.integers(40, 200)), int(rng.integers(1, 5))
    series = np.arange(rows, dtype="float32")[:, None]
    windows = Windows(series, LOOKBACK, HORIZON)
    streams = Streams(windows, count, LOOKBACK)
    epochs, length = 30, len(windows) // count
    batches = streams.batches(seed).take(epochs * streams.steps)
    found = np.array([x[:, 0, 0] for x, _ in batches.as_numpy_iterator()])
    found = found.reshape(epochs, streams.steps, count)
    if streams.steps > 1:
        assert {*np.diff(found, axis=1).ravel()} == {LOOKBACK}
    assert {*np.diff(found, axis=2).ravel()} <= {length}
    assert found.min() >= 0
    assert found.max() < count * length
    # Every window has its turn, unless chance leaves one out.
    share = len({*found.ravel()}) / (count * length)
    assert share > 0.8
    last = [*streams.batches(seed, start_step=5).take(1).as_numpy_iterator()]
    np.testing.assert_array_equal(
        last[0][0][:, 0, 0], found.reshape(-1, count)[5]
    )


def sections(folder):
    rows = np.arange(300)
    frame = pd.DataFrame(
        {"a": np.sin(rows / 3), "b": 50 + np.cos(rows / 5)},
        index=pd.date_range("2024-01-01", periods=300, freq="h"),
    )
    path = folder / "series.csv"
    path.write_text(frame.to_csv(index_label="time"))
    return {
        "model": {
            "architecture": "recurrent",
            "cell": "gru",
            "width": 4,
            "truncation": 3,
            "streams": 4,
            "dropout": 0.1,
        },
        "data": {
            "name": "csv_series",
            "file": str(path),
            "time_column": "time",
            "lookback": LOOKBACK,
            "horizon": HORIZON,
        },
        "training": {"epochs": 3, "batch_size": 4},
        "quantization": {"epochs": 0},
        "export": {"benchmark_rounds": 1},
    }


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return Recipe.parse(sections(tmp_path_factory.mktemp("data")))


@pytest.mark.long
def test_stopped_training_goes_on_with_its_states(
    recipe, tmp_path, monkeypatch
):
    model = small.trained(recipe, tmp_path / "whole")
    (layer,) = (x for x in model.layers if hasattr(x, "carried"))
    assert np.abs(layer.carried[0]).max() > 0
    # Twice within the first epoch.
    small.stop_in(monkeypatch, "on_train_batch_end", (3, 6, 14))
    for stop in range(3):
        with pytest.raises(SystemExit):
            small.trained(recipe, tmp_path / "run", resume=stop > 0)
    found = small.trained(recipe, tmp_path / "run", resume=True)
    assert checkpoint.to_bytes(found) == checkpoint.to_bytes(model)


@pytest.mark.long
def test_each_epoch_begins_anew(recipe, tmp_path, monkeypatch):
    from kbp.layers import TruncatedRNN

    resets = []
    monkeypatch.setattr(
        TruncatedRNN, "reset_state", lambda self: resets.append(self.name)
    )
    small.trained(recipe, tmp_path / "run")
    assert len(resets) == recipe.training.epochs


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.streams=5"], "model.streams must be training.batch_size, 4"),
        (["ensemble.members=2"], "model.streams is for one network"),
    ],
)
def test_what_does_not_fit_is_named(recipe, settings, message):
    with pytest.raises(UserError, match=message):
        make_task(recipe.with_settings(settings))


def test_several_series_are_refused(tmp_path):
    given = sections(tmp_path)
    frame = pd.read_csv(given["data"]["file"])
    two = pd.concat([frame.assign(site=site) for site in ("north", "south")])
    two.to_csv(given["data"]["file"], index=False)
    given["data"]["id_column"] = "site"
    with pytest.raises(UserError, match="one long series; the data hold 2"):
        make_task(Recipe.parse(given))


def test_replicas_are_refused(recipe):
    task = make_task(recipe)
    with pytest.raises(UserError, match="whole batches, on one device"):
        task.training_batches(seed=0, shares=data.shares.Shares(0, 2, 2))
