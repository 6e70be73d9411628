"""Errors of many series against loops in float64 over the file's own rows."""

import numpy as np
import pytest

from kbp.recipes import Recipe
from kbp.reports.series_errors import series_table
from kbp.tasks import make_task
from kbp.tasks.forecasts.errors import errors_of

HORIZON, LOOKBACK, SEASON = 4, 12, 1
# A small series, and one a thousand times as large that hardly follows itself.
KINDS = {"small": (1.0, 0.05), "large": (1000.0, 2.0), "middle": (30.0, 0.5)}


def rows_of(kinds, count=120):
    rng = np.random.default_rng(0)
    time = np.arange(count)
    return {
        name: size
        * (
            5 + np.sin(time / (3 + place)) + noise * rng.normal(size=count)
        ).round(4)
        for place, (name, (size, noise)) in enumerate(kinds.items())
    }


def task_of(folder, rows, **keys):
    lines = [
        f"{name},{value!r}"
        for name, values in rows.items()
        for value in values.tolist()
    ]
    file = folder / "many.csv"
    file.write_text("\n".join(["id,v", *lines]) + "\n")
    data = {
        "name": "csv_series",
        "file": str(file),
        "id_column": "id",
        "target": ["v"],
        "lookback": LOOKBACK,
        "horizon": HORIZON,
        **keys,
    }
    return make_task(
        Recipe.parse(
            {
                "data": data,
                "model": {"architecture": "bp_transformer", "num_layers": 0},
            }
        )
    )


def ends_of(values):
    """Return where training ends and where the test begins."""
    test = round(0.2 * len(values))
    return len(values) - test - round(0.1 * len(values)), len(values) - test


@pytest.fixture
def many(tmp_path):
    rows = rows_of(KINDS)
    return rows, task_of(
        tmp_path, rows, validation_fraction=0.1, test_fraction=0.2
    )


def by_hand(values):
    """Return errors of repeating the last value, and those in sample."""
    train, test = ends_of(values)
    scale = [abs(values[t] - values[t - SEASON]) for t in range(SEASON, train)]
    gaps = [
        [values[start + step] - values[start - 1] for step in range(HORIZON)]
        for start in range(test, len(values) - HORIZON + 1)
    ]
    return np.array(gaps), float(np.mean(scale))


def tables_of(task):
    past = task.splits.test.past
    outputs = np.repeat(past[:, -1:], HORIZON, axis=1)
    return task.tables(outputs)


def test_mase_divides_each_window_by_the_error_of_its_own_series(many):
    rows, task = many
    shares, pooled, scales = [], [], []
    for values in rows.values():
        gaps, scale = by_hand(values)
        shares += (np.abs(gaps).mean(axis=1) / scale).tolist()
        spread = values[: ends_of(values)[0]].std()
        pooled += (np.abs(gaps).mean(axis=1) / spread).tolist()
        scales.append(scale / spread)
    expected = np.mean(shares)
    # The ratio of means, which this is not, is far from it here.
    assert abs(np.mean(pooled) / np.mean(scales) / expected - 1) > 0.1
    outputs = np.repeat(task.splits.test.past[:, -1:], HORIZON, axis=1)
    errors = task.errors(outputs.__getitem__)
    assert errors.mean().scaled == pytest.approx([expected], rel=1e-5)
    assert task.other_errors["repeat last"].scaled == pytest.approx(
        [expected], rel=1e-5
    )


def test_each_series_has_its_errors_in_its_own_units(many):
    rows, task = many
    table = tables_of(task)["Errors by series"]
    assert table.headings == ("series", "windows", "MAE", "RMSE", "MASE")
    assert [row[0] for row in table.rows] == [*KINDS]
    for (_, count, *cells), values in zip(
        table.rows, rows.values(), strict=True
    ):
        gaps, scale = by_hand(values)
        assert int(count) == len(gaps)
        expected = (
            np.abs(gaps).mean(),
            np.square(gaps).mean() ** 0.5,
            np.abs(gaps).mean() / scale,
        )
        found = [float(cell.replace(",", "")) for cell in cells]
        assert found == pytest.approx(expected, rel=1e-3)


def test_series_of_very_different_size_have_no_mean_in_their_units(many):
    _, task = many
    own, *_ = tables_of(task).values()
    assert [row[1:3] for row in own.rows] == [("-", "-")] * 2
    assert all(cell != "-" for row in own.rows for cell in row[3:])
    assert "no MAE and RMSE of all series in the data's units" in own.remark
    scales = task.splits.scale[:, 0]
    assert f"{scales.max() / scales.min():,.0f} times" in own.remark


def test_series_of_one_size_have_a_mean_in_their_units(tmp_path):
    rows = rows_of({"a": (1.0, 0.1), "b": (1.2, 0.1)})
    task = task_of(tmp_path, rows, validation_fraction=0.1, test_fraction=0.2)
    own, *_ = tables_of(task).values()
    gaps = [by_hand(values)[0] for values in rows.values()]
    expected = np.abs(np.concatenate(gaps)).mean()
    assert float(own.rows[0][1]) == pytest.approx(expected, rel=1e-3)
    assert own.remark == ""


def test_widths_of_intervals_have_no_mean_in_units_either(many):
    _, task = many
    task.calibrate(lambda inputs: np.repeat(inputs[:, -1:], HORIZON, axis=1))
    table = tables_of(task)["Prediction intervals by column, adapted"]
    ((_, _, width, standardized, *_),) = table.rows
    assert width == "-"
    assert float(standardized) > 0
    assert "vary too unlike" in table.remark


def test_of_many_series_the_worst_are_shown(tmp_path):
    kinds = {f"s{i:02}": (1.0 + i, 0.05 * (1 + i % 7)) for i in range(25)}
    rows = rows_of(kinds)
    task = task_of(tmp_path, rows, validation_fraction=0.1, test_fraction=0.2)
    table = tables_of(task)["Errors by series"]
    scaled = {}
    for name, values in rows.items():
        gaps, scale = by_hand(values)
        scaled[name] = np.abs(gaps).mean() / scale
    worst = sorted(scaled, key=lambda name: -scaled[name])[:20]
    assert [row[0] for row in table.rows] == worst
    assert table.remark.startswith("The 20 of 25 with the largest MASE; the ")
    median = float(table.remark.partition("all is ")[2].split()[0][:-1])
    assert median == pytest.approx(np.median([*scaled.values()]), rel=1e-3)


def test_a_series_that_repeats_itself_exactly_counts_in_no_mean():
    """Its seasonal naive forecast has no error to divide by."""
    gaps = np.array([1.0, 3.0, 5.0])[:, None, None]
    seasonal = np.array([2.0, 1e-8, 0.0])[:, None, None]
    errors = errors_of(gaps.__getitem__, 0 * gaps, np.ones(1), seasonal)
    assert errors.mean().scaled == pytest.approx([0.5])
    assert np.isnan(errors.mean(np.array([2])).scaled).all()
    table = series_table(("a", "b", "c"), ("v",), errors, np.arange(3))
    assert [row[-1] for row in table["Errors by series"].rows] == [
        *("0.5000", "-", "-")
    ]
