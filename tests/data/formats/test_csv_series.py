"""Series from CSV files: reading, splitting, windows."""

import os
from pathlib import Path

import numpy as np
import pytest

from kbp import data
from kbp.data.datasets import ett
from kbp.data.formats import csv_series, series_reader, series_table
from kbp.data.formats.series_format import SeriesFormat
from kbp.data.series import Windows
from kbp.errors import UserError

HOURLY = [f"2024-01-{1 + h // 24:02d} {h % 24:02d}:00" for h in range(60)]


def write(folder, rows, header="date,a,b"):
    file = folder / "series.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def hourly(folder, *, without=(), values=None):
    rows = [
        f"{time},{h + 0.5},{(values or {}).get(h, h * h % 7)}"
        for h, time in enumerate(HOURLY)
        if h not in without
    ]
    return write(folder, rows)


def load(file, **arguments):
    arguments = {
        "lookback": 6,
        "horizon": 3,
        "split": csv_series.by_rows([30, 40]),
        "time_column": "date",
    } | arguments
    own = ("lookback", "horizon", "split")
    windows = {name: arguments.pop(name) for name in own}
    return csv_series.load(file, SeriesFormat(**arguments), **windows)


def read(file, **arguments):
    """Read a file of one series."""
    table = series_table.read(file, SeriesFormat(**arguments))
    (series,) = table.series
    return table, series


def test_windows_are_all_that_fit_and_look_back_over_the_border(tmp_path):
    splits = load(hourly(tmp_path))
    values = splits.scale * 0 + [[h + 0.5, h * h % 7] for h in range(60)]
    series = (values - values[:30].mean(axis=0)) / values[:30].std(axis=0)
    for name, begin, end in (
        ("train", 0, 30),
        ("validation", 24, 40),
        ("test", 34, 60),
    ):
        windows = getattr(splits, name)
        assert len(windows) == end - begin - 9 + 1
        for i in range(len(windows)):
            row = begin + i
            np.testing.assert_allclose(
                windows.inputs[i], series[row : row + 6], rtol=1e-5, atol=1e-6
            )
            np.testing.assert_allclose(
                windows.labels[i],
                series[row + 6 : row + 9],
                rtol=1e-5,
                atol=1e-6,
            )
    assert splits.input_shape == (6, 2)
    assert splits.names == ("a", "b")


def test_batches_of_windows_are_those_of_the_arrays():
    windows = Windows(np.random.default_rng(0).random((40, 3), "f4"), 5, 2)
    arrays = data.Examples(windows.inputs, windows.labels)
    for make in (
        lambda examples: data.training_batches(examples, 4, seed=1).take(15),
        lambda examples: data.evaluation_batches(examples, 4),
    ):
        pairs = zip(make(windows), make(arrays), strict=True)
        for (x, y), (x_array, y_array) in pairs:
            np.testing.assert_array_equal(x, x_array)
            np.testing.assert_array_equal(y, y_array)


def test_series_that_is_too_short_for_a_window_has_none():
    windows = Windows(np.zeros((6, 2), "f4"), 5, 2)
    assert len(windows) == len(windows.inputs) == len(windows.labels) == 0


def test_columns_are_those_asked_for_in_that_order(tmp_path):
    table, series = read(
        hourly(tmp_path), time_column="date", target=("b", "a")
    )
    assert table.names == ("b", "a")
    np.testing.assert_array_equal(series.values[3], [2, 3.5])


def test_splits_by_dates_and_fractions_and_rows_agree(tmp_path):
    _, series = read(hourly(tmp_path), time_column="date")
    times = series.times
    assert csv_series.by_dates(["2024-01-02 06:00", "2024-01-02T16:00"])(
        times
    ) == (30, 40, 60)
    assert csv_series.by_fractions(1 / 6, 1 / 3)(times) == (30, 40, 60)
    assert csv_series.by_rows([30, 40, 50])(times) == (30, 40, 50)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [("previous", [4.5, 4.5, 4.5]), ("interpolate", [5.5, 6.5, 7.5])],
)
def test_missing_values_and_rows_are_filled_as_the_rule_says(
    missing, expected, tmp_path
):
    file = hourly(tmp_path, without=(5, 6), values={7: "NaN", 30: ""})
    rows = file.read_text().replace("07:00,7.5", "07:00,", 1)
    file.write_text(rows)
    table, series = read(file, time_column="date", missing=missing)
    np.testing.assert_allclose(series.values[5:8, 0], expected)
    assert len(series.values) == len(series.times) == 60
    assert table.counts == {series_reader.FILLED: 2 * 2 + 2 + 1}
    assert np.isfinite(series.values).all()


def test_interpolation_repeats_what_is_first_and_last(tmp_path):
    file = hourly(tmp_path, values={0: "", 59: "?"})
    _, series = read(file, time_column="date", missing="interpolate")
    values = series.values
    assert values[0, 1] == values[1, 1]
    assert values[59, 1] == values[58, 1]


def swapped(lines):
    return [*lines[:3], lines[4], lines[3], *lines[5:]]


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (None, {"time_column": "dat"}, "no column 'dat'.*'date'"),
        (None, {"target": ("c",)}, "no column 'c'"),
        (None, {"target": ("date",)}, "both time_column and target"),
        (None, {"lookback": 40}, "train split has 30 rows.* need 43"),
        (None, {"horizon": 11}, "validation split has 16 rows.* need 17"),
        (None, {"split": csv_series.by_rows([30, 70])}, "within the 60 rows"),
        (None, {"split": csv_series.by_rows([30])}, "two or three"),
        (None, {"split": csv_series.by_rows([9, 20, 40, 60])}, "two or three"),
        (
            None,
            {"split": csv_series.by_dates(["2030-01-01", "2031-01-01"])},
            r"\['2030-01-01'.* after rows \[60, 60\]",
        ),
        (None, {"target": ("a", "a")}, "names the column 'a' again"),
        (None, {"split": csv_series.by_dates(["x", "y"])}, "compared"),
        (swapped, {}, "line 5: the time.* is not after .* at 1 lines"),
        (lambda x: [*x[:9], *x[10:]], {}, "2 values are missing, in 1 rows"),
        (lambda x: [*x, "2024-01-09 00:30,1,2"], {}, "line 62: is .* not 1:00"),
        (lambda x: [*x, "soon,1,2"], {}, "line 62: the time 'soon'"),
        (lambda x: [*x, "7,1,2"], {}, "line 62: the time '7' is .* not of the"),
        (lambda x: [*x, "2024-01-03 12:00Z,1,2"], {}, "have a time zone"),
        (lambda x: [*x, "9024-01-03 12:00,1,2"], {}, "62: .* more than there"),
        (lambda x: [*x, "2024-01-03 12:00,1e308,2"], {}, "line 62: '1e308'"),
        (lambda x: [*x, "2024-01-03 12:00,1e99,2"], {}, "'a' has values too"),
        (lambda x: ["date;a;b", *x[1:]], {}, "line 2: has 1 fields"),
        (lambda x: ["date,,b", *x[1:]], {}, "column 2 has no name"),
        (
            lambda x: [x[0], *(line[:-1] + "0.1" for line in x[1:])],
            {},
            "'b' is constant",
        ),
        (lambda x: [*x, "2024-01-03 12:00,inf,2"], {}, "line 62: 'inf'"),
        (lambda x: [*x, "2024-01-03 12:00,1"], {}, "line 62: has 2 fields"),
        (lambda x: [x[0]], {}, "holds no rows"),
        (lambda x: [], {}, "is empty"),
        (lambda x: ["date,a,a", *x[1:]], {}, "two columns"),
        (
            lambda x: [x[0], *(line[:-1] + "3" for line in x[1:])],
            {},
            "'b' is constant",
        ),
    ],
)
def test_bad_files_are_refused_with_a_reason(
    change, arguments, message, tmp_path
):
    file = hourly(tmp_path)
    if change:
        lines = change(file.read_text().splitlines())
        file.write_text("".join(line + "\n" for line in lines))
    with pytest.raises(UserError, match=message):
        load(file, **arguments)


def test_missing_first_value_has_none_before_it(tmp_path):
    file = hourly(tmp_path, values={0: "", 1: "null"})
    with pytest.raises(UserError, match="'b' begins with 2 missing"):
        load(file, missing="previous")
    with pytest.raises(UserError, match="first at 2024-01-01 00:00:00 in"):
        load(file)


def test_missing_value_without_times_is_found_by_its_line(tmp_path):
    file = write(tmp_path, ["1,2", "3,", "4,4"], header="a,b")
    with pytest.raises(UserError, match=r"first at .*, line 3 in column 'b'"):
        series_table.read(file)


@pytest.mark.parametrize("unit", [1, 1000])
@pytest.mark.parametrize("step", [600, 3600, 86400])
def test_seconds_since_1970_are_numbers(unit, step, tmp_path):
    times = [unit * (1704110400 + step * i) for i in range(40)]
    file = write(tmp_path, [f"{time},1,2" for time in times])
    assert list(read(file, time_column="date")[1].times) == times


@pytest.mark.parametrize("text", ["nan", "inf", "1e300"])
def test_time_that_is_no_finite_number_is_named(text, tmp_path):
    file = write(tmp_path, ["1,1,2", f"{text},1,2", "3,1,2"])
    with pytest.raises(UserError, match=f"line 3: the time '{text}'"):
        read(file, time_column="date")


def test_counter_that_looks_like_days_is_one(tmp_path):
    rows = [f"{20240125 + i},1,2" for i in range(20)]
    file = write(tmp_path, rows)
    assert read(file, time_column="date")[1].times[0] == 20240125


def test_column_without_a_name_may_be_left_out(tmp_path):
    file = write(tmp_path, ["0,1,2", "1,3,5"], header=",a,b")
    assert read(file, target=("a", "b"))[0].names == ("a", "b")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv: cannot be read"):
        load(tmp_path / "none.csv")
    with pytest.raises(UserError, match="ETTh1 needs a data directory"):
        ett.load("etth1", None, lookback=6, horizon=3)


def test_rows_without_times_count_as_equally_far_apart(tmp_path):
    file = write(tmp_path, ["1,2", "3,5", "4,4"], header="a,b")
    assert list(read(file)[1].times) == [0, 1, 2]


# Mean squared and absolute error over all windows, and over all but those of
# the last incomplete batch of 32, as the published table has it.
REPEAT_LAST = {
    96: (1.294, 1.295, 0.713),
    192: (1.325, 1.325, 0.733),
    336: (1.330, 1.323, 0.744),
    720: (1.335, 1.339, 0.756),
}


@pytest.fixture
def folder():
    folder = os.environ.get("KBP_DATA")
    if not folder or not Path(folder, ett.FOLDER).is_dir():
        pytest.skip("KBP_DATA names no folder with ETT-small")
    return folder


def test_windows_of_quarter_hours_are_as_many_as_published(folder):
    splits = ett.load("ettm1", folder, lookback=2016, horizon=96)
    parts = (splits.train, splits.validation, splits.test)
    assert tuple(map(len, parts)) == (32449, 11425, 11425)


@pytest.mark.long
@pytest.mark.parametrize("horizon", REPEAT_LAST)
def test_repeating_the_last_value_gives_the_published_errors(horizon, folder):
    test = ett.load("etth1", folder, lookback=96, horizon=horizon).test
    errors = test.labels - test.inputs[:, -1:]
    whole = len(test) // 32 * 32
    measured = (
        np.mean(errors**2),
        np.mean(errors[:whole] ** 2),
        np.mean(np.abs(errors[:whole])),
    )
    np.testing.assert_allclose(measured, REPEAT_LAST[horizon], atol=5.1e-4)


@pytest.mark.parametrize("value", [1e25, -1e35, 1e60])
def test_values_too_far_for_float32_are_named_by_their_time(value, tmp_path):
    with pytest.raises(UserError, match=r"'b' .* first at 2024-01-03 02:00:00"):
        load(hourly(tmp_path, values={50: value}))
