"""The race of forecasts."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from kbp.__main__ import main
from kbp.benchmarks.core.log import Log
from kbp.benchmarks.forecasting import methods as methods
from kbp.benchmarks.forecasting import report as report
from kbp.benchmarks.forecasting.methods import DATA, HORIZONS, METHODS
from kbp.benchmarks.forecasting.plan import best_of, finals, search
from kbp.benchmarks.forecasting.race import RACE
from kbp.benchmarks.forecasting.trial import Protocol, Trainer, Trial
from kbp.data.series import SeriesSplits, Windows
from kbp.models.linear.ridge import ridges

TINY = Protocol(batch_size=4, steps=4, every=2, seeds=2)


def series(lookback, horizon):
    rows = np.arange(1200)[:, None]
    rng = np.random.default_rng(0)
    values = np.sin(rows * 2 * np.pi / [24, 12]) + 0.1 * rng.normal(
        size=(1200, 2)
    )
    values = values.astype("float32")
    cuts = ((0, 700), (700 - lookback, 950), (950 - lookback, 1200))
    parts = [Windows(values[a:b], lookback, horizon) for a, b in cuts]
    return SeriesSplits(*parts, ("a", "b"), np.zeros(2), np.ones(2))


@pytest.fixture
def sets(monkeypatch):
    """Waves in all sets' place, and an hour in a week's."""
    monkeypatch.setattr(
        "kbp.benchmarks.forecasting.trial.ett.load",
        lambda name, data_dir, *, lookback, horizon: series(lookback, horizon),
    )


def test_naive_forecasts_repeat_a_row_and_a_day():
    for name, lookback in (("repeat last", 1), ("seasonal naive", 24)):
        assert METHODS[name].lookbacks("etth1") == (lookback,)
        splits = series(lookback, 30)
        x = splits.test.inputs[:3]
        predict, parameters = METHODS[name].fit(splits, "etth1")
        found = predict(x)
        assert found.shape == (3, 30, 2)
        for row in range(30):
            np.testing.assert_array_equal(found[:, row], x[:, row % lookback])
        assert not parameters


def forecast_by(kernel):
    def predict(x):
        mean = x.mean(axis=1, keepdims=True)
        return np.einsum("btc,th->bhc", x - mean, kernel) + mean

    return predict


def test_ridge_takes_the_penalty_that_is_best_on_validation():
    splits = series(48, 6)
    predict, parameters = methods.ridge(splits, "etth1")
    assert parameters == 48 * 6
    error, absolute = methods.mean_errors(predict, splits.validation)
    gaps = predict(splits.validation.inputs) - splits.validation.labels
    assert error == pytest.approx(float(np.mean(gaps**2)), rel=1e-5)
    assert absolute == pytest.approx(float(np.mean(np.abs(gaps))), rel=1e-5)
    assert error < 0.02  # noise of 0.1, and what estimating adds
    kernels = ridges(
        splits.train.inputs, splits.train.labels, (0.01, 0.1, 1.0, 10.0)
    )
    errors = [
        methods.mean_errors(forecast_by(kernel), splits.validation)[0]
        for kernel in kernels
    ]
    assert np.argmin(errors) == 1  # not the first one, or the last
    assert error == pytest.approx(errors[1], rel=1e-6)
    few, _ = methods.mean_errors(predict, splits.validation, every=7)
    assert few == pytest.approx(float(np.mean(gaps[::7] ** 2)), rel=1e-5)


def test_dlinear_is_two_linear_maps_of_trend_and_rest():
    splits = series(40, 6)
    model = methods.dlinear(splits, "etth1")
    assert model.count_params() == 2 * (40 + 1) * 6
    x = splits.test.inputs[:2]
    padded = np.pad(x, ((0, 0), (12, 12), (0, 0)), mode="edge")
    trend = np.stack([padded[:, i : i + 25].mean(1) for i in range(40)], 1)
    kernels = [w for w in model.get_weights() if w.ndim == 2]
    expected = sum(
        np.einsum("btc,th->bhc", part, kernel)
        for part, kernel in zip((trend, x - trend), kernels, strict=True)
    )
    found = model.predict(x, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in METHODS if METHODS[n].build])
def test_networks_forecast_all_channels(name):
    data, _ = METHODS[name].cases[0]
    splits = series(168, 6)
    model = METHODS[name].build(splits, data)
    assert model.output_shape == (None, 6, 2)
    assert model.input_shape == (None, 168, 2)


@pytest.mark.usefixtures("sets")
@pytest.mark.slow
def test_a_trial_keeps_its_best_weights_the_start_included():
    trial = Trial("BP-Transformer", "etth1", 6, 168, 1e-4, 0)
    result = Trainer(replace(TINY, steps=2), None).run(trial)
    assert json.loads(json.dumps(result)) == result
    wild = Trainer(TINY, None).run(replace(trial, learning_rate=10.0))
    start = Trainer(replace(TINY, steps=0), None).run(trial)
    assert start["kept"] == wild["kept"] == 0
    assert wild["mse"] == pytest.approx(start["mse"], rel=1e-6)
    assert result["mse"] < 0.02
    assert result["parameters"] > 168 * 6
    linear = Trainer(TINY, None).run(replace(trial, learning_rate=0.0))
    assert linear["parameters"] == 168 * 6
    assert linear["mse"] == pytest.approx(start["mse"], rel=1e-6)


@pytest.mark.usefixtures("sets", "one_process")
def test_race_chooses_on_validation_and_is_not_run_again(tmp_path, monkeypatch):
    small = replace(
        METHODS["ridge"],
        lookbacks=lambda data: (24, 96),
        cases=(("etth1", 6), ("etth1", 12)),
    )
    monkeypatch.setitem(METHODS, "ridge", small)
    file = tmp_path / "race.jsonl"
    results = RACE.run(file, protocol=TINY, names=["ridge"])
    assert [r["lookback"] for r in results[:2]] == [24, 96]
    chosen = min(results[:2], key=lambda r: r["validation"])["lookback"]
    assert best_of("ridge", "etth1", results) == (chosen, 0.0)
    other = [{**r, "mse": -r["validation"]} for r in results]
    assert best_of("ridge", "etth1", other) == (chosen, 0.0)
    later = [r for r in results if r["horizon"] == 12]
    assert [r["lookback"] for r in later] == [chosen]
    assert len(results) == 3  # what the search has fitted counts
    text = file.read_text()
    assert RACE.run(file, protocol=TINY, names=["ridge"]) == results
    assert file.read_text() == text


def test_training_that_keeps_the_start_is_no_better_than_none():
    results = [
        result_of(trial, 0.4 - 1e-9 * rank) | {"kept": 0}
        for rank, trial in enumerate(search("BP-Transformer"))
    ]
    assert best_of("BP-Transformer", "etth1", results) == (1008, 0.0)
    trials = finals("BP-Transformer", TINY, results)
    assert {trial.seed for trial in trials} == {0}  # nothing is random
    results[1] |= {"kept": 250, "validation": 0.39}
    _, chosen = best_of("BP-Transformer", "etth1", results)
    assert chosen == results[1]["learning_rate"]
    assert len(finals("BP-Transformer", TINY, results)) == len(trials) + 4 * (
        5 - 1
    )


def test_table_has_means_spreads_and_published_figures(tmp_path):
    log = Log(tmp_path / "race.jsonl", TINY)
    results = []
    for name in ("BP-Transformer", "repeat last", "without highway"):
        for rank, trial in enumerate(search(name)):
            results.append(result_of(trial, 0.5 - 0.01 * rank))
        for trial in finals(name, TINY, results):
            if trial not in [Trial(**key(r)) for r in results]:
                error = 0.3 + 0.02 * trial.seed + trial.horizon / 1000
                results.append(result_of(trial, error))
    rows = report.summarize(log.head, results)
    assert [*rows] == [*DATA]
    assert [*rows["etth2"]] == ["BP-Transformer", "repeat last"]
    assert "| etth2 96: BP-Transformer |" not in report.markdown_table(
        log.head, results
    )
    assert [*rows["etth2"]["BP-Transformer"]] == [*HORIZONS]
    table = report.markdown_table(log.head, results)
    assert "| etth1: **BP-Transformer** | 1008 | " in table
    assert " 1.0600 ± 0.0316 |" in table  # of 720: 1.02, 1.04, ... 1.10
    published = "0.271 / 0.331 / 0.354 / 0.378, mean 0.334"
    empty = "- | " * 6
    assert f"| etth2: FITS | {empty}{published} | - | - |" in table
    assert "| etth2: repeat last | 1 | " in table
    assert "| etth1 96: without highway | " in table
    assert "LSTM" not in table.split("| ablation")[0].split("±")[-1]
    assert "BP-Transformer" in report.plot(log.head, results)
    assert "repeat last" not in report.plot(log.head, results)
    # What has not finished is not there.
    rows = report.summarize(log.head, results[1:])
    assert "BP-Transformer" not in rows["etth1"]
    assert report.markdown_table(log.head, []) == "No method has finished yet."
    assert "etth1" in report.plot(log.head, [])  # and nothing warns


def key(result):
    return {name: result[name] for name in asdict(Trial("", "", 0, 0, 0.0, 0))}


def result_of(trial, error):
    figures = {"validation": error, "mse": error, "mae": error, "kept": 4}
    figures |= {"parameters": 5000, "seconds": 2.0, "commit": "c"}
    return {**asdict(trial), **figures}


def test_plot_of_something_else_is_not_written_over(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.svg").write_text("mine")
    words = ["benchmark", "forecasting", "--results", "mine.jsonl"]
    assert main(words) == 2
    assert "mine.svg: exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.svg"]


def test_unknown_method_and_missing_data_are_said(monkeypatch, capsys):
    monkeypatch.delenv("KBP_DATA", raising=False)
    assert main(["benchmark", "forecasting", "ridg"]) == 2
    assert "'ridg'" in capsys.readouterr().err
    assert main(["benchmark", "forecasting", "ridge"]) == 2
    assert "data directory" in capsys.readouterr().err
