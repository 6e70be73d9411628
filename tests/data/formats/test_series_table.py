"""Series as people have them: dates, time zones, ids, covariates."""

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from kbp import data
from kbp.data.formats import (
    csv_series,
    grid,
    series_reader,
    series_table,
)
from kbp.data.formats.series_format import SeriesFormat
from kbp.data.series import Windows
from kbp.data.series_files import times
from kbp.errors import UserError

BERLIN = ZoneInfo("Europe/Berlin")
GERMAN = "%d.%m.%Y %H:%M"
SPRING = datetime(2023, 3, 26, tzinfo=UTC)
AUTUMN = datetime(2023, 10, 29, tzinfo=UTC)
HOUR = timedelta(hours=1)


def write(folder, lines, header, name="series.csv", encoding="utf-8"):
    file = folder / name
    file.write_text("\n".join([header, *lines]) + "\n", encoding=encoding)
    return file


def instants(begin, count=8, step=HOUR):
    """Return instants around a change of clocks, 1 a.m. in UTC."""
    return [begin - 2 * HOUR + step * i for i in range(count)]


def local(moments):
    return [moment.astimezone(BERLIN).strftime(GERMAN) for moment in moments]


def read(file, **keys):
    keys = {
        "time_column": "Zeit",
        "date_format": GERMAN,
        "time_zone": "Europe/Berlin",
        "decimal": ",",
    } | keys
    return series_table.read(file, SeriesFormat(**keys))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_files_of_spreadsheets_are_read_as_they_are(mark, encoding, tmp_path):
    header = mark.join(["Zeit", "Wärme"])
    lines = [
        mark.join([time, f"{i},5"])
        for i, time in enumerate(local(instants(SPRING)))
    ]
    file = write(tmp_path, lines, header, encoding=encoding)
    table = read(file, encoding=encoding.removesuffix("-sig"))
    assert table.names == ("Wärme",)
    np.testing.assert_array_equal(
        table.series[0].values[:, 0], np.arange(8) + 0.5
    )


@pytest.mark.parametrize("begin", [SPRING, AUTUMN])
@pytest.mark.parametrize("step", [HOUR, HOUR / 4])
def test_local_times_are_the_instants_that_they_were(begin, step, tmp_path):
    moments = instants(begin, 20, step)
    lines = [f"{time};{i}" for i, time in enumerate(local(moments))]
    table = read(write(tmp_path, lines, "Zeit;x"))
    found = [
        time.to_pydatetime().astimezone(UTC) for time in table.series[0].times
    ]
    assert found == moments
    assert table.step == step
    twice = sum(m.astimezone(BERLIN).hour == 2 for m in moments)
    key = "times in an hour that comes twice"
    assert table.counts.get(key, 0) == (twice if begin == AUTUMN else 0)


def test_times_are_shown_in_the_offset_of_their_own_date(tmp_path):
    lines = [f"{time};{i}" for i, time in enumerate(local(instants(AUTUMN)))]
    (series,) = read(write(tmp_path, lines, "Zeit;x")).series
    assert [str(time) for time in series.times[2:5]] == [
        "2023-10-29 02:00:00+02:00",
        "2023-10-29 02:00:00+01:00",
        "2023-10-29 03:00:00+01:00",
    ]


def test_hour_that_comes_twice_but_is_there_once_is_the_first(tmp_path):
    times_of_day = local(instants(AUTUMN))
    del times_of_day[3]
    lines = [f"{time};{i}" for i, time in enumerate(times_of_day)]
    file = write(tmp_path, lines, "Zeit;x")
    with pytest.raises(
        UserError, match=r"1 hour is missing\), .*02:00:00\+01:00 in"
    ):
        read(file)
    table = read(file, missing="interpolate")
    np.testing.assert_array_equal(
        table.series[0].values[:5, 0], [0, 1, 2, 2.5, 3]
    )
    assert table.counts["times in an hour that comes twice"] == 1


def test_hour_that_comes_thrice_is_refused(tmp_path):
    times_of_day = local(instants(AUTUMN))
    times_of_day.insert(3, times_of_day[3])
    lines = [f"{time};{i}" for i, time in enumerate(times_of_day)]
    with pytest.raises(UserError, match=r"line 6: the time .* not after"):
        read(write(tmp_path, lines, "Zeit;x"))


def test_hour_that_clocks_skip_is_left_out_and_counted(tmp_path):
    times_of_day = local(instants(SPRING))
    times_of_day.insert(3, "26.03.2023 02:00")
    lines = [f"{time};{i}" for i, time in enumerate(times_of_day)]
    table = read(write(tmp_path, lines, "Zeit;x"))
    np.testing.assert_array_equal(
        table.series[0].values[:, 0], [0, 1, 2, 4, 5, 6, 7, 8]
    )
    assert table.counts == {"rows left out at times that clocks skip": 1}


def test_days_have_no_time_zone(tmp_path):
    lines = [f"{day}.03.2023 00:00;{day}" for day in range(20, 31)]
    table = read(write(tmp_path, lines, "Zeit;x"))
    assert table.step == timedelta(days=1)
    assert str(table.series[0].times[-1]) == "2023-03-30 00:00:00"


@pytest.mark.parametrize("zone", ["", "Europe/Berlin"])
def test_offsets_in_the_file_are_those_of_the_instants(zone, tmp_path):
    moments = instants(AUTUMN)
    lines = [
        f"{m.astimezone(BERLIN).isoformat()},{i}" for i, m in enumerate(moments)
    ]
    file = write(tmp_path, lines, "Zeit,x")
    keys = {"date_format": "", "decimal": ".", "time_zone": zone}
    (series,) = read(file, **keys).series
    assert [t.tz_convert("UTC") for t in series.times] == moments
    assert str(series.times[3])[-6:] == ("+01:00" if zone else "+00:00")


def test_one_offset_in_the_file_is_kept(tmp_path):
    lines = [f"2023-01-01T{h:02d}:00+05:30,{h}" for h in range(5)]
    (series,) = read(
        write(tmp_path, lines, "Zeit,x"),
        date_format="",
        decimal=".",
        time_zone="",
    ).series
    assert str(series.times[1]) == "2023-01-01 01:00:00+05:30"


def test_split_at_local_dates_is_at_the_zones_midnight(tmp_path):
    moments = instants(AUTUMN, 40)
    lines = [f"{time};{i}" for i, time in enumerate(local(moments))]
    (series,) = read(write(tmp_path, lines, "Zeit;x")).series
    ends = csv_series.by_dates(["2023-10-29 04:00", "2023-10-30T00:00+01:00"])
    limits = [
        datetime(2023, 10, 29, 4, tzinfo=BERLIN),
        datetime(2023, 10, 30, tzinfo=BERLIN),
    ]
    expected = [sum(m < limit for m in moments) for limit in limits]
    assert ends(series.times) == (*expected, 40)


def test_irregular_times_are_averaged_if_asked(tmp_path):
    rows = [
        ("00:05", 1),
        ("00:50", 3),
        ("01:30", 5),
        ("03:10", 7),
        ("03:11", 8),
    ]
    lines = [f"01.06.2023 {time};{x},0" for time, x in rows]
    file = write(tmp_path, lines, "Zeit;x")
    with pytest.raises(UserError, match=r"line 4: is .*resample"):
        read(file)
    table = read(file, resample="1h", missing="previous")
    np.testing.assert_array_equal(
        table.series[0].values[:, 0], [2.0, 5.0, 5.0, 7.5]
    )
    assert str(table.series[0].times[0]) == "2023-06-01 00:00:00+02:00"
    assert table.step == HOUR
    assert table.counts == {
        "rows averaged over 1h": 5,
        series_reader.FILLED: 1,
    }


def test_days_are_averaged_over_the_local_calendar(tmp_path):
    begin = datetime(2023, 10, 27, 22, tzinfo=UTC)
    moments = [begin + HOUR * i for i in range(24 + 25 + 24)]
    lines = [f"{time};{i}" for i, time in enumerate(local(moments))]
    (series,) = read(write(tmp_path, lines, "Zeit;x"), resample="1D").series
    expected = [np.mean(r) for r in (range(24), range(24, 49), range(49, 73))]
    np.testing.assert_allclose(series.values[:, 0], expected)
    assert str(series.times[1]) == "2023-10-29 00:00:00"


def test_parquet_is_read_like_csv(tmp_path):
    moments = pd.DatetimeIndex(instants(AUTUMN))
    frame = pd.DataFrame({"x": np.arange(8.0), "free": [False, True] * 4})
    frame["Zeit"] = moments.tz_convert("Europe/Berlin")
    frame["day"] = moments.tz_localize(None)
    frame.to_parquet(tmp_path / "aware.parquet")
    form = SeriesFormat(
        time_column="Zeit",
        target=("x",),
        future_covariates=("free",),
        time_zone="Europe/Berlin",
    )
    table = series_table.read(tmp_path / "aware.parquet", form)
    (series,) = table.series
    assert list(series.times) == list(frame["Zeit"])
    np.testing.assert_array_equal(series.future[:, 0], [0, 1] * 4)
    form = SeriesFormat(time_column="day", target=("x",))
    (series,) = series_table.read(tmp_path / "aware.parquet", form).series
    assert list(series.times) == list(frame["day"])


def test_calendar_is_sine_and_cosine_of_local_time(tmp_path):
    moments = instants(AUTUMN, 30)
    lines = [f"{time};{i}" for i, time in enumerate(local(moments))]
    table = read(
        write(tmp_path, lines, "Zeit;x"),
        calendar=("hour", "weekday", "day_of_year"),
    )
    expected = []
    for moment in moments:
        here = moment.astimezone(BERLIN)
        day = (here.date() - here.date().replace(month=1, day=1)).days
        parts = (here.hour / 24, here.weekday() / 7, day / 365.2425)
        angles = [2 * math.pi * part for part in parts]
        expected.append(
            [wave(angle) for angle in angles for wave in (math.sin, math.cos)]
        )
    np.testing.assert_allclose(
        table.known(table.series[0]), expected, atol=1e-12
    )
    assert table.covariates[:2] == ("hour sine", "hour cosine")


def two_series(folder, lengths=(40, 30), constant="ab"):
    """Write two series row by row, as exports of databases do."""
    lines = []
    for i in range(max(lengths)):
        for name, kind, length in zip("nm", constant, lengths, strict=True):
            if i < length:
                time = datetime(2023, 1, 1) + i * HOUR
                x = 10 * i + (name == "m") * (1000 + i * i)
                lines.append(f"{time},{name},{kind},{x},{i % 5}")
    return write(folder, lines, "time,id,kind,x,temperature")


MANY = SeriesFormat(
    time_column="time",
    id_column="id",
    target=("x",),
    past_covariates=("temperature",),
    calendar=("hour",),
    static=("kind",),
)


def test_each_series_is_split_and_standardized_for_itself(tmp_path):
    splits = csv_series.load(
        two_series(tmp_path),
        MANY,
        lookback=4,
        horizon=2,
        split=csv_series.by_fractions(0.2, 0.3),
    )
    values = {
        "n": 10.0 * np.arange(40),
        "m": 10.0 * np.arange(30) + 1000 + np.arange(30) ** 2,
    }
    ends = {"n": (20, 28, 40), "m": (15, 21, 30)}
    assert splits.series == ("n", "m")
    assert splits.input_shape == (6, 1 + 1 + 2 + 2)
    for place, split in enumerate(("train", "validation", "test")):
        windows = getattr(splits, split)
        mean, scale = splits.level(split)
        assert mean.shape == scale.shape == (len(windows), 1, 1)
        past, labels = [], []
        for name, series in values.items():
            begin = max(0, ends[name][place - 1] - 4) if place else 0
            for start in range(begin, ends[name][place] - 6 + 1):
                past.append(series[start : start + 4])
                labels.append(series[start + 4 : start + 6])
        assert len(windows) == len(past)
        for found, expected in (
            (windows.past, past),
            (windows.labels, labels),
        ):
            np.testing.assert_allclose(
                found[..., 0] * scale[..., 0] + mean[..., 0],
                expected,
                rtol=1e-5,
                atol=1e-3,
            )
    for row, name in enumerate(values):
        known = values[name][: ends[name][0]]
        assert splits.mean[row, 0] == pytest.approx(known.mean())
        assert splits.scale[row, 0] == pytest.approx(known.std())


def test_model_sees_covariates_and_no_values_of_the_horizon(tmp_path):
    splits = csv_series.load(
        two_series(tmp_path),
        MANY,
        lookback=4,
        horizon=2,
        split=csv_series.by_fractions(0.2, 0.3),
    )
    assert splits.covariates.names == (
        *("temperature", "hour sine", "hour cosine"),
        *("kind a", "kind b"),
    )
    assert splits.covariates.past == 1
    inputs, train = splits.train.inputs, splits.train
    np.testing.assert_array_equal(inputs[:, :4, :1], train.past)
    assert not inputs[:, 4:, :2].any()
    hours = np.arange(15)[:, None] + np.arange(6)
    np.testing.assert_allclose(
        inputs[:15, :, 2], np.sin(2 * np.pi * hours / 24), atol=1e-6
    )
    np.testing.assert_array_equal(inputs[:15, :4, 1], (hours % 5)[:, :4])
    np.testing.assert_array_equal(inputs[:15, :, 4:], [[[1, 0]] * 6] * 15)
    np.testing.assert_array_equal(inputs[15:, 0, 4:], [[0, 1]] * 10)
    # Of the training rows, 20 and 15.
    known = [*(np.arange(20) % 5), *(np.arange(15) % 5)]
    assert splits.covariates.mean[0] == pytest.approx(np.mean(known))
    assert splits.covariates.scale[0] == pytest.approx(np.std(known))
    assert splits.covariates.mean[-1] == pytest.approx(15 / 35)


def test_batches_of_many_series_are_those_of_the_arrays():
    rng = np.random.default_rng(0)
    windows = Windows(
        rng.random((40, 4), "f4"),
        5,
        2,
        starts=np.array([0, 1, 2, 20, 21, 30]),
        targets=2,
        past_covariates=1,
    )
    for row, start in enumerate(windows.starts):
        part = windows.series[start : start + 7]
        np.testing.assert_array_equal(windows.past[row], part[:5, :2])
        np.testing.assert_array_equal(windows.labels[row], part[5:, :2])
        seen = part * [[1, 1, 1, 1]] * 1
        seen[5:, :3] = 0
        np.testing.assert_array_equal(windows.inputs[row], seen)
    arrays = data.Examples(windows.inputs, windows.labels)
    for make in (
        lambda examples: data.training_batches(examples, 4, seed=1).take(5),
        lambda examples: data.evaluation_batches(examples, 4),
    ):
        for (x, y), (x_array, y_array) in zip(
            make(windows), make(arrays), strict=True
        ):
            np.testing.assert_array_equal(x, x_array)
            np.testing.assert_array_equal(y, y_array)


def test_unknown_category_is_all_zeros(tmp_path):
    table = series_table.read(
        two_series(tmp_path), MANY, categories={"kind": ("a", "z")}
    )
    np.testing.assert_array_equal(
        [series.static for series in table.series], [[1, 0], [0, 0]]
    )


def ahead(folder, days, *, later=0, header="time,x,free"):
    """Write hours with values, and later ones with covariates alone."""
    lines = [
        f"{datetime(2023, 1, 1) + i * HOUR},{x},{i % 7}"
        for i, x in enumerate([*range(days * 24), *[""] * later])
    ]
    return write(folder, lines, header)


AHEAD = SeriesFormat(
    time_column="time",
    target=("x",),
    future_covariates=("free",),
    calendar=("hour",),
)


def test_later_rows_are_known_ahead(tmp_path):
    table = series_table.read(ahead(tmp_path, 2, later=5), AHEAD)
    (series,) = table.series
    assert len(series.values) == 48
    assert not table.counts
    known = table.known(series, 5)
    assert known.shape == (53, 3)
    np.testing.assert_array_equal(known[:, 0], np.arange(53) % 7)
    np.testing.assert_allclose(
        known[:, 1], np.sin(2 * np.pi * np.arange(53) / 24), atol=1e-12
    )
    with pytest.raises(
        UserError, match=r"6 rows after .*x must hold free; 5 do"
    ):
        table.known(series, 6)


def test_later_rows_may_be_another_file(tmp_path):
    file = ahead(tmp_path, 2)
    lines = [
        f"{datetime(2023, 1, 3) + i * HOUR},{(48 + i) % 7}" for i in range(5)
    ]
    more = write(tmp_path, lines, "time,free", name="free.csv")
    table = series_table.read(file, AHEAD, later=more)
    np.testing.assert_array_equal(
        table.known(table.series[0], 5)[:, 0], np.arange(53) % 7
    )
    for row, message in ((3, r"4 rows after .*; 3 do\."), (0, r"free; 0 do\.")):
        lines[row] = lines[row][:-1]
        more = write(tmp_path, lines, "time,free", name="free.csv")
        table = series_table.read(file, AHEAD, later=more)
        with pytest.raises(UserError, match=message):
            table.known(table.series[0], 4)
    more = write(tmp_path, ["1,2", "2,2"], "time,free", name="free.csv")
    with pytest.raises(UserError, match=r"free\.csv: its times are of another"):
        series_table.read(file, AHEAD, later=more)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"time_zone": "Europe/Berln"}, "unknown 'Europe/Berln'.*Berlin"),
        ({"calendar": ("hours",)}, "calendar: unknown 'hours'.*'hour'"),
        ({"calendar": ("hour",) * 2}, "calendar names 'hour' again"),
        ({"time_column": "", "date_format": ""}, "time_zone needs a time_col"),
        (
            {"time_column": "", "date_format": "", "time_zone": ""}
            | {"calendar": ("hour",)},
            "calendar needs a time_column",
        ),
        ({"time_zone": "Lummerland"}, "IANA time zones, such as .{1,60}$"),
        ({"date_format": "%d.%Q"}, "date_format: .*bad directive"),
        ({"date_format": "%d%d"}, "date_format: '%d%d' names one part .*twice"),
        (
            {"date_format": ""},
            r"line 2: the time '29.10.2023 00:00'.*date_form",
        ),
        ({"target": ("y",)}, "no column 'y'"),
        ({"static": ("x",)}, "static needs an id_column"),
        (
            {"target": ("x",), "past_covariates": ("x",)},
            "'x' cannot be both target and past_covariates",
        ),
        ({"separator": ","}, "separator and decimal cannot both be ','"),
        ({"resample": "soon"}, "resample: .*15min"),
        ({"resample": "-1h"}, "resample must be a span"),
        ({"encoding": "latin9999"}, "unknown 'latin9999'"),
        ({"decimal": "."}, "line 2: '0,0' .*decimal commas"),
    ],
)
def test_options_that_do_not_fit_are_named(keys, message, tmp_path):
    moments = [AUTUMN - 2 * HOUR + i * HOUR for i in range(5)]
    lines = [f"{time};{i},0" for i, time in enumerate(local(moments))]
    file = write(tmp_path, lines, "Zeit;x")
    with pytest.raises(UserError, match=message):
        read(file, **keys)


def test_second_date_format_is_found_by_its_line(tmp_path):
    lines = [f"{day:02d}.01.2023 00:00;1" for day in range(1, 9)]
    lines[5] = "2023-01-06 00:00;1"
    file = write(tmp_path, lines, "Zeit;x")
    with pytest.raises(UserError, match="line 7: the time '2023-01-06 00:00'"):
        read(file)
    lines[5] = "06/01/2023 00:00;1"
    file = write(tmp_path, lines, "Zeit;x")
    with pytest.raises(UserError, match=r"line 7: .* does not fit '%d.%m.%Y"):
        read(file)


def test_series_that_does_not_fit_is_named(tmp_path):
    split = csv_series.by_fractions(0.2, 0.3)
    windows = {"lookback": 4, "horizon": 2, "split": split}
    with pytest.raises(UserError, match="series 'm': the train split has 4"):
        csv_series.load(two_series(tmp_path, (40, 7)), MANY, **windows)
    file = two_series(tmp_path)
    lines = file.read_text().splitlines()
    lines[7] = lines[7].replace(",a,", ",c,")
    file.write_text("\n".join(lines))
    with pytest.raises(UserError, match="line 8: 'kind' is 'c', and 'a' befor"):
        csv_series.load(file, MANY, **windows)
    lines[7] = lines[7].replace(",n,c,", ",,a,")
    file.write_text("\n".join(lines))
    with pytest.raises(UserError, match="line 8: has nothing in the id_column"):
        csv_series.load(file, MANY, **windows)
    file = two_series(tmp_path)
    lines = file.read_text().splitlines()
    del lines[20]
    file.write_text("\n".join(lines))
    with pytest.raises(UserError, match="series 'm': 2 values are missing"):
        csv_series.load(file, MANY, **windows)


def test_series_of_different_steps_are_refused(tmp_path):
    lines = [f"2023-01-{1 + i:02d} 00:00,a,{i}" for i in range(9)]
    lines += [f"2023-01-01 {i:02d}:00,b,{i}" for i in range(9)]
    file = write(tmp_path, lines, "time,id,x")
    form = SeriesFormat(time_column="time", id_column="id")
    with pytest.raises(UserError, match="rows of series 'b' are 1:00:00 apart"):
        series_table.read(file, form)


@pytest.mark.parametrize("step", [2, 0.25])
def test_later_times_go_on_at_equal_steps(step):
    index = pd.Index(step * np.arange(4))
    np.testing.assert_allclose(grid.later(index, 2), [4 * step, 5 * step])
    counts = {}
    with pytest.raises(UserError, match="time_zone: a time such as"):
        times.in_zone(index, "Europe/Berlin", counts)


def test_later_rows_of_other_series_count_for_nothing(tmp_path):
    lines = [
        f"2023-01-01T{hour:02d}:00,{name},k,{hour},0"
        for name in "ab"
        for hour in range(6)
    ]
    file = write(tmp_path, lines, "time,id,kind,x,free", name="known.csv")
    lines = [f"2023-01-01T06:00,{name},1" for name in "abc"]
    more = write(tmp_path, lines, "time,id,free", name="later.csv")
    form = SeriesFormat(
        time_column="time",
        target=("x",),
        id_column="id",
        static=("kind",),
        future_covariates=("free",),
    )
    table = series_table.read(file, form, later=more)
    assert [series.name for series in table.series] == ["a", "b"]
    assert all(series.future[-1] == 1 for series in table.series)
