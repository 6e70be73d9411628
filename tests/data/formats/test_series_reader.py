"""Ends of series, parts of steps, sentinels: nothing is made up in silence."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from kbp.data.formats import grid, series_reader, series_table
from kbp.data.formats.series_format import SeriesFormat
from kbp.errors import UserError

BEGIN = datetime(2023, 1, 1)
HOUR = timedelta(hours=1)
BERLIN = ZoneInfo("Europe/Berlin")


def write(folder, lines, header="time,x", name="series.csv"):
    file = folder / name
    file.write_text("\n".join([header, *lines]) + "\n")
    return file


def read(file, later=None, **keys):
    keys = {"time_column": "time", "target": ("x",)} | keys
    return series_table.read(file, SeriesFormat(**keys), later=later)


def hours(values, *more, begin=BEGIN, step=HOUR):
    """Return lines of times, values, and values of other columns."""
    return [
        ",".join(map(str, [begin + i * step, *cells]))
        for i, cells in enumerate(zip(values, *more, strict=True))
    ]


@pytest.mark.parametrize("missing", ["refuse", "previous", "interpolate"])
@pytest.mark.parametrize("past", [(), ("wind",)])
def test_empty_rows_at_the_end_are_cut_and_counted(missing, past, tmp_path):
    values = [*range(20), *[""] * 7]
    wind = list(range(27))
    file = write(tmp_path, hours(values, wind), "time,x,wind")
    table = read(file, missing=missing, past_covariates=past)
    (series,) = table.series
    np.testing.assert_array_equal(series.values[:, 0], np.arange(20))
    assert len(series.times) == len(series.past) == 20
    assert table.counts == {series_reader.EMPTY_AT_END: 7}


def test_each_series_ends_where_its_own_values_do(tmp_path):
    lines = [
        f"{line},{name}"
        for name, count in (("a", 20), ("b", 15))
        for line in hours([*range(count), *[""] * (20 - count)])
    ]
    table = read(write(tmp_path, lines, "time,x,id"), id_column="id")
    assert [len(series.values) for series in table.series] == [20, 15]
    assert table.counts == {series_reader.EMPTY_AT_END: 5}


def test_a_row_that_holds_one_of_two_targets_is_not_at_the_end(tmp_path):
    lines = hours(range(20), [*range(18), "", ""])
    file = write(tmp_path, lines, "time,x,y")
    with pytest.raises(UserError, match="2 values are missing"):
        read(file, target=("x", "y"))


@pytest.mark.parametrize(
    ("left_out", "empty", "said"),
    [
        (
            [*range(5, 12)],
            [],
            r"14 values are missing, in 7 rows \(7 hours are m",
        ),
        (
            [5],
            [],
            r"2 values are missing, in 1 rows \(1 hour is missing\), the",
        ),
        (
            [5, 6],
            [9],
            r"6 values are missing, in 3 rows \(2 hours are missing\)",
        ),
        (
            [],
            [9],
            r"2 values are missing, in 1 rows, the first at 2023-01-01 09",
        ),
    ],
)
def test_hours_that_are_missing_are_counted(left_out, empty, said, tmp_path):
    cells = ["" if i in empty else i for i in range(30)]
    lines = hours(cells, cells)
    kept = [line for i, line in enumerate(lines) if i not in left_out]
    file = write(tmp_path, kept, "time,x,y")
    with pytest.raises(UserError, match=said):
        read(file, target=("x", "y"))


@pytest.mark.parametrize(
    ("step", "said"),
    [("1D", "1 day is"), ("7D", "1 week is"), ("15min", "1 row is")],
)
def test_missing_rows_are_called_by_their_step(step, said, tmp_path):
    times = pd.date_range("2024-01-01", periods=20, freq=step).delete(4)
    lines = [f"{time.isoformat()},{i}" for i, time in enumerate(times)]
    with pytest.raises(UserError, match=rf"\({said} missing\)"):
        read(write(tmp_path, lines, "time,x"))


@pytest.mark.parametrize("rows", [0, 1, 2, 3])
@pytest.mark.parametrize("ahead", [0, 9])
def test_part_of_a_step_is_no_step(rows, ahead, tmp_path):
    """Of four quarters of the last hour, some are known."""
    known = 4 * 5 + rows
    values = [*range(known), *[""] * ahead]
    free = np.arange(len(values)) % 3
    lines = hours(values, free, step=HOUR / 4)
    file = write(tmp_path, lines, "time,x,free")
    keys = {"future_covariates": ("free",)} if ahead else {}
    table = read(file, resample="1h", **keys)
    (series,) = table.series
    means = np.arange(20).reshape(5, 4).mean(axis=1)
    np.testing.assert_allclose(series.values[:, 0], means)
    said = [what for what in table.counts if "with part of their rows" in what]
    assert [table.counts[what] for what in said] == [1] * bool(rows)
    if ahead:
        # What is known ahead of the hour is known, all of it or what there is.
        first = free[20:24].mean()
        assert series.future[5, 0] == pytest.approx(first)


def test_part_of_the_first_step_is_no_step_either(tmp_path):
    lines = hours(range(11), begin=BEGIN + HOUR / 4, step=HOUR / 4)
    (series,) = read(write(tmp_path, lines), resample="1h").series
    np.testing.assert_allclose(series.values[:, 0], [4.5, 8.5])
    assert str(series.times[0]) == "2023-01-01 01:00:00"


@pytest.mark.parametrize(
    ("minutes", "rows"),
    [
        (range(0, 180, 15), (0, 0)),
        ([1, 14, 31, 44, 61, 74, 91, 104], (0, 0)),  # a little late or early
        (range(0, 170, 15), (0, 0)),
        (range(0, 160, 15), (0, 3)),
        (range(15, 180, 15), (3, 0)),
        ([0, 60, 120], (0, 0)),
        ([0, 120, 240], (0, 0)),  # of longer steps there are no parts
        ([5], (0, 0)),
    ],
)
def test_steps_that_are_not_whole_are_found(minutes, rows):
    times = pd.DatetimeIndex([BEGIN + timedelta(minutes=m) for m in minutes])
    assert grid.rows_of_partial_steps(times, "1h") == rows


@pytest.mark.parametrize("column", ["x", "wind", "free"])
def test_sentinels_are_named_and_can_be_missing(column, tmp_path):
    rng = np.random.default_rng(0)
    names = ("x", "wind", "free")
    cells = {name: rng.normal(size=30).round(2) for name in names}
    cells[column][[5, 6]] = -999
    file = write(tmp_path, hours(*cells.values()), "time,x,wind,free")
    keys = {"past_covariates": ("wind",), "future_covariates": ("free",)}
    (said,) = read(file, **keys).warnings
    assert f"column {column!r} holds -999 at 2 lines, the first is 7" in said
    keys["missing_values"] = ("-999",)
    with pytest.raises(UserError, match=f"2 values are missing.*{column!r}"):
        read(file, **keys)
    table = read(file, missing="interpolate", **keys)
    assert not table.warnings
    assert table.counts == {series_reader.FILLED: 2}


def test_a_word_for_missing_values_is_named_with_its_cure(tmp_path):
    lines = hours([*range(4), "n/v", *range(4)])
    file = write(tmp_path, lines)
    with pytest.raises(UserError, match=r'missing_values = \["n/v"\]; else'):
        read(file)
    table = read(file, missing_values=("n/v",), missing="interpolate")
    assert table.counts == {series_reader.FILLED: 1}


@pytest.mark.parametrize("cell", ["1_000", "=A1", "#REF!"])
def test_what_a_spreadsheet_leaves_is_no_value(cell, tmp_path):
    lines = hours([*range(4), cell, *range(4)])
    with pytest.raises(UserError, match=r"line 6: .* is no finite number"):
        read(write(tmp_path, lines))


@pytest.mark.parametrize("cell", ["=A1", "#REF!"])
def test_formula_is_no_category(cell, tmp_path):
    kinds = [*"kkkk", cell, *"kkkk"]
    file = write(tmp_path, hours(range(9), "a" * 9, kinds), "time,x,id,kind")
    with pytest.raises(UserError, match=r"line 6: .* in column 'kind' is a f"):
        read(file, id_column="id", static=("kind",))


@pytest.mark.parametrize("time", ["2_023", "1_0"])
def test_times_are_no_numbers_of_python(time, tmp_path):
    lines = [f"{i},{i}" for i in range(9)]
    lines[4] = f"{time},4"
    with pytest.raises(UserError, match=f"line 6: the time '{time}'"):
        read(write(tmp_path, lines))
    lines = [f"0{i + 1}.01.2023,{i}" for i in range(9)]
    lines[4] = f"05.01.{'2_23'},4"
    file = write(tmp_path, lines)
    with pytest.raises(UserError, match=r"line 6: the time '05\.01\.2_23'"):
        read(file, date_format="%d.%m.%Y")


@pytest.mark.parametrize("year", ["0001", "9999"])
@pytest.mark.parametrize("form", ["", "%Y-%m-%dT%H:%M%z"])
@pytest.mark.parametrize("offset", ["+01:00", "-01:00"])
def test_years_that_python_ends_at_are_refused(year, form, offset, tmp_path):
    lines = [f"2023-01-01T{hour:02d}:00{offset},1" for hour in range(9)]
    lines[4] = f"{year}-12-31T23:00{offset},1"
    message = f"line 6: the time '{year}-12.* not in the years 100 to 9900"
    with pytest.raises(UserError, match=message):
        read(write(tmp_path, lines), date_format=form, time_zone="UTC")


def test_rows_from_the_last_to_the_first_are_to_be_sorted(tmp_path):
    message = "line 3: the time .* is not after .* sort the rows, the earliest"
    with pytest.raises(UserError, match=message):
        read(write(tmp_path, hours(range(9))[::-1]))


def test_parts_of_a_microsecond_are_counted(tmp_path):
    lines = [
        f"2023-01-01 00:00:0{i}.{i * 1111:09d},{i}" for i in range(9)
    ]  # the first is whole
    file = write(tmp_path, lines)
    for form in ("", "%Y-%m-%d %H:%M:%S.%f"):
        assert read(file, date_format=form).counts == {series_reader.CUT: 8}
    frame = pd.read_csv(file, parse_dates=["time"])
    frame["time"] = frame["time"].astype("datetime64[ns]")
    frame.to_parquet(tmp_path / "series.parquet")
    counts = read(tmp_path / "series.parquet").counts
    assert counts == {series_reader.CUT: 8}


def changes(shown):
    """Return instants from before one change of clocks to after the next."""
    begin = datetime(2023, 3, 24, 23, tzinfo=UTC)
    moments = [begin + HOUR * i for i in range(24 * 220)]
    return moments, [f"{shown(m)},{i % 24}" for i, m in enumerate(moments)]


@pytest.mark.parametrize("zone", ["", "Europe/Berlin"])
@pytest.mark.parametrize("date_format", ["", "%d.%m.%Y %H:%M %z"])
def test_rows_after_both_changes_of_clocks_have_their_own_offset(
    zone, date_format, tmp_path
):
    form = date_format or "%Y-%m-%dT%H:%M:%S%z"
    moments, lines = changes(lambda m: m.astimezone(BERLIN).strftime(form))
    table = read(
        write(tmp_path, lines), date_format=date_format, time_zone=zone
    )
    (series,) = table.series
    later = grid.later(series.times, 3)
    assert [t.to_pydatetime() for t in later] == [
        moments[-1] + HOUR * (i + 1) for i in range(3)
    ]
    # Without a zone nothing is known of local time, which is said.
    offset = "+01:00" if zone else "+00:00"
    assert {str(time)[-6:] for time in later} == {offset}
    first = "+01:00" if zone else "+00:00"
    assert str(series.times[0])[-6:] == first
    summer = "+02:00" if zone else "+00:00"
    assert str(series.times[24 * 100])[-6:] == summer
    said = table.counts.get(series_reader.SHOWN_IN_UTC, 0)
    assert said == (0 if zone else len(moments))


def test_times_in_utc_are_not_spoken_of(tmp_path):
    lines = [f"2023-01-01T{hour:02d}:00Z,{hour}" for hour in range(9)]
    assert not read(write(tmp_path, lines)).counts


def ahead(folder, known, later):
    """Write a file of values and one of what is known ahead."""
    file = write(folder, hours(range(known), [0] * known), "time,x,free")
    begin = BEGIN + later[0] * HOUR
    more = hours(later[1:], begin=begin)
    return file, write(folder, more, "time,free", name="days.csv")


@pytest.mark.parametrize(
    ("later", "missing"),
    [
        ([20, 1, 1, 1], 23),  # it ends too early
        ([21, *[1] * 9], 20),  # it begins too late
        ([20, 1, 1, "", 1, 1, 1, 1], 22),
    ],
)
def test_gap_in_later_rows_is_named_by_their_file_and_time(
    later, missing, tmp_path
):
    file, more = ahead(tmp_path, 20, later)
    table = read(file, later=more, future_covariates=("free",))
    first = BEGIN + missing * HOUR
    message = rf"days\.csv: 5 rows after .* free; .* is that of {first}"
    with pytest.raises(UserError, match=message):
        table.known(table.series[0], 5)


def test_categories_that_are_unknown_are_counted_by_name(tmp_path):
    lines = [
        f"{line},{name},{kind}"
        for name, kind in (("a", "shop"), ("b", "office"), ("c", "office"))
        for line in hours(range(9))
    ]
    file = write(tmp_path, lines, "time,x,id,kind")
    form = SeriesFormat(
        time_column="time", id_column="id", target=("x",), static=("kind",)
    )
    known = {"kind": ["plant", "shop"]}
    table = series_table.read(file, form, categories=known)
    assert table.counts == {
        "series of the unknown kind 'office', which counts as none": 2
    }
    assert not series_table.read(file, form).counts


@pytest.mark.parametrize("begin", [0.0, 0.3, 1e6])
@pytest.mark.parametrize("step", [0.1, 1 / 3, 1e-5])
def test_steps_of_numbers_have_no_wrong_last_digits(begin, step, tmp_path):
    times = [repr(round(begin + i * step, 9)) for i in range(40)]
    file = write(tmp_path, [f"{time},{i}" for i, time in enumerate(times)])
    found = read(file)
    assert found.step == pytest.approx(step, rel=1e-3)
    assert len(repr(found.step)) <= 14
    (series,) = found.series
    np.testing.assert_allclose(series.times, np.array(times, float))
    later = grid.later(series.times, 3)
    assert all(len(repr(float(time))) <= 16 for time in later)


def test_days_with_a_change_of_clocks_are_advised_to_be_resampled(tmp_path):
    noons = [datetime(2023, 3, 20 + i, 12) for i in range(12)]
    lines = [f"{time:%Y-%m-%d %H:%M},{i}" for i, time in enumerate(noons)]
    file = write(tmp_path, lines)
    keys = {"time_zone": "Europe/Berlin"}
    with pytest.raises(UserError, match='Say resample = "1D"'):
        read(file, **keys)
    found = read(file, resample="1D", **keys)
    assert found.series[0].values[:, 0].tolist() == [*range(12)]
