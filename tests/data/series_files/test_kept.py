"""Series that are not in memory: the numbers of those that are, to the bit."""

import dataclasses
import os
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from kbp import data
from kbp.data import cache, lazy, records
from kbp.data import series as windows_module
from kbp.data.formats.csv_series import CsvSeriesConfig, load_config
from kbp.data.formats.series_format import SeriesFormat
from kbp.data.series_files import moments, rows, spool
from kbp.data.series_files.kept import _Stream
from kbp.data.splitting import SPLITS
from kbp.data.tables import csv_file, parquet
from kbp.data.tables.rows import opened
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import make_task

HOUR = timedelta(hours=1)
BERLIN = ZoneInfo("Europe/Berlin")
GERMAN = "%d.%m.%Y %H:%M"
BEGIN = datetime(2023, 10, 28, 20, tzinfo=UTC)  # before clocks are set back


@pytest.fixture(autouse=True)
def small_parts(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for module in (csv_file, parquet):
        monkeypatch.setattr(module, "PART_ROWS", 17)
    monkeypatch.setattr(spool, "GROUP_ROWS", 90)
    monkeypatch.setattr(moments, "_PART", 128)  # as NumPy's blocks
    monkeypatch.setattr(rows, "_BLOCK", 100)
    monkeypatch.setattr(windows_module, "_LITTLE", 0)
    monkeypatch.setattr(lazy, "_CHUNK_BYTES", 999)


def frame(series=("b", "a", "c"), count=60, mixed=True):
    """Return rows of several series, one behind the other or mixed."""
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame(
            {
                "time": [
                    (BEGIN + i * HOUR).replace(tzinfo=None)
                    for i in range(count + 5 * place)
                ],
                "id": name,
                "kind": "xy"[place % 2],
                "free": np.arange(count + 5 * place) % 7,
                "wind": rng.normal(5, 2, count + 5 * place).round(2),
                "a": rng.normal(100, 20, count + 5 * place).round(3),
                "b": rng.normal(1e-3, 1e-4, count + 5 * place),
            }
        )
        for place, name in enumerate(series)
    ]
    found = pd.concat(parts, ignore_index=True)
    return found.sort_values("time", kind="stable") if mixed else found


def ended(column="a", rows=4):
    """Return series with empty values at their ends, and some between."""
    found = frame()
    found[["a", "b"]] = found[["a", "b"]].mask(
        found["time"] > pd.Timestamp("2023-10-31 05:00")
    )
    found.loc[found.index[40:44], column] = np.nan
    return found


def local(found):
    times = pd.DatetimeIndex(found["time"]).tz_localize("UTC")
    shown = times.tz_convert("Europe/Berlin")
    return found.assign(time=shown.strftime(GERMAN))


def offsets(found):
    """Write times with the offset of their date, as both clocks have it."""
    times = pd.DatetimeIndex(found["time"]).tz_localize("UTC")
    shown = times.tz_convert("Europe/Berlin")
    return found.assign(time=[time.isoformat() for time in shown])


def thinned(found):
    """Leave out rows of each series."""
    return found[np.arange(len(found)) % 11 != 3]


def numbered(found):
    """Count times in seconds, in halves from some row on."""
    order = found.groupby("id").cumcount()
    return found.assign(
        time=[f"{i}" if i < 40 else f"{float(i)}" for i in order]
    )


def with_sentinels(found):
    found = found.copy()
    found.loc[found.index[20:150:13], "a"] = -999
    found.loc[found.index[5:150:31], "wind"] = 9999
    return found


MANY = {"time_column": "time", "id_column": "id"}
ONE = {"time_column": "time", "target": ("a", "b")}
# Of each case the file's rows, how they are written, and the keys.
CASES = {
    "series mixed": (frame, {}, MANY | {"target": ("a",)}),
    "series one by one": (
        lambda: frame(mixed=False),
        {},
        MANY | {"target": ("b", "a")},
    ),
    "covariates": (
        frame,
        {},
        MANY
        | {
            "target": ("a",),
            "past_covariates": ("wind",),
            "future_covariates": ("free",),
            "calendar": ("hour", "weekday"),
            "static": ("kind",),
        },
    ),
    "one covariate": (
        frame,
        {},
        MANY | {"target": ("a",), "past_covariates": ("wind",)},
    ),
    "all other columns": (
        lambda: frame().drop(columns=["kind"]),
        {},
        MANY,
    ),
    "one series": (lambda: frame(series="a"), {}, ONE),
    "no times": (
        lambda: frame(series="a")[["a", "b"]],
        {},
        {"target": ()},
    ),
    "ends and gaps": (
        ended,
        {},
        MANY | {"target": ("a", "b"), "missing": "interpolate"},
    ),
    "previous": (
        lambda: thinned(frame()),
        {},
        MANY | {"target": ("a",), "missing": "previous"},
    ),
    "rows ahead": (
        ended,
        {},
        MANY
        | {
            "target": ("a", "b"),
            "future_covariates": ("free",),
            "missing": "previous",
        },
    ),
    "local times": (
        lambda: local(frame()),
        {"sep": ";", "decimal": ",", "encoding": "cp1252"},
        MANY
        | {
            "target": ("a",),
            "separator": ";",
            "decimal": ",",
            "encoding": "cp1252",
            "date_format": GERMAN,
            "time_zone": "Europe/Berlin",
            "calendar": ("hour",),
        },
    ),
    "offsets that change": (
        lambda: offsets(frame()),
        {},
        MANY | {"target": ("a",)},
    ),
    "offsets in a zone": (
        lambda: offsets(frame(mixed=False)),
        {},
        MANY | {"target": ("a",), "time_zone": "Europe/Berlin"},
    ),
    "means of steps": (
        lambda: thinned(frame(count=150)),
        {},
        MANY | {"target": ("a",), "resample": "2h"},
    ),
    "times of two kinds": (
        lambda: numbered(frame()),
        {},
        MANY | {"target": ("a",)},
    ),
    "sentinels": (
        lambda: with_sentinels(frame()),
        {},
        MANY | {"target": ("a",), "past_covariates": ("wind",)},
    ),
    "missing values": (
        lambda: with_sentinels(frame()),
        {},
        MANY
        | {
            "target": ("a",),
            "missing_values": ("-999", "9999.0"),
            "missing": "interpolate",
        },
    ),
}
SPLIT_KEYS = (
    {"validation_fraction": 0.15, "test_fraction": 0.25},
    {"split": "rows", "rows": (30, 40)},
    {"validation_fraction": 0.0},
)


def written(folder, rows, **how):
    file = folder / "series.csv"
    rows.to_csv(file, index=False, **how)
    return file


def load(file, mode, **keys):
    keys = {"lookback": 6, "horizon": 3, "cache": mode} | keys
    return load_config(CsvSeriesConfig(file=str(file), **keys), None)


def check_same(found, right):
    """Compare all that is known of two data sets, bit by bit."""
    for field in dataclasses.fields(data.SeriesSplits):
        one, other = (getattr(x, field.name) for x in (found, right))
        if field.name in SPLITS:
            check_windows(one, other)
        elif field.name == "covariates":
            assert (one is None) == (other is None)
            for name, value in vars(other).items() if other else ():
                np.testing.assert_array_equal(getattr(one, name), value)
        elif field.name == "kept":
            assert "on the disk" in one
            assert not other
        elif isinstance(other, np.ndarray):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other, field.name
            assert type(one) is type(other)


def check_windows(one, other):
    for name, value in vars(other).items():
        if name == "series":
            np.testing.assert_array_equal(one.series[:], value)
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(one, name), value)
        elif not name.startswith("_"):
            assert getattr(one, name) == value
    for name, right in of_arrays(other).items():
        found = getattr(one, name)
        assert found.shape == right.shape
        np.testing.assert_array_equal(found[:], right)
        assert isinstance(found, lazy.Lazy) or not found.nbytes
        np.testing.assert_array_equal(getattr(other, name)[:], right)
    pairs = zip(one.parts(), other.parts(), strict=True)
    for found, right in pairs:
        np.testing.assert_array_equal(found, right)


def of_arrays(windows):
    """Return what a model sees of windows, and the rest, from their rows."""
    length = windows.lookback + windows.horizon
    every = windows.series[windows.starts[:, None] + np.arange(length)]
    past, labels = np.split(
        every[..., : windows.targets], [windows.lookback], axis=1
    )
    seen = past
    if windows.targets < every.shape[2]:
        seen = every.copy()
        unknown = windows.targets + windows.past_covariates
        seen[:, windows.lookback :, :unknown] = 0
    return {"inputs": seen, "labels": labels, "past": past}


def test_cases_have_all_keys_of_a_format():
    given = {key for _, _, keys in CASES.values() for key in keys}
    assert given == {key.name for key in dataclasses.fields(SeriesFormat)}


@pytest.mark.parametrize("split", SPLIT_KEYS, ids=["shares", "rows", "none"])
@pytest.mark.parametrize("case", CASES)
def test_series_are_those_of_memory(case, split, tmp_path):
    make, how, keys = CASES[case]
    file = written(tmp_path, make(), **how)
    right = load(file, "memory", **keys, **split)
    check_same(load(file, "disk", **keys, **split), right)
    check_same(load(file, "disk", **keys, **split), right)  # as kept
    assert right.warnings or case != "sentinels"


@pytest.mark.parametrize("case", CASES)
def test_series_of_parquet_files_are_those_of_memory(case, tmp_path):
    pytest.importorskip("pyarrow")
    make, how, keys = CASES[case]
    if how:
        pytest.skip("numbers of a Parquet file have no decimal marks")
    file = tmp_path / "series.parquet"
    make().to_parquet(file, row_group_size=70, index=False)
    check_same(load(file, "disk", **keys), load(file, "memory", **keys))


# Forms that contradict themselves: each is said whatever holds the rows.
WRONG_FORMS = {
    "unknown calendar": MANY | {"calendar": ("houre",)},
    "calendar without times": {"id_column": "id", "calendar": ("hour",)},
    "zone without times": {"time_zone": "Europe/Berlin"},
    "resampled without times": {"resample": "2h"},
    "dates without times": {"date_format": GERMAN},
    "static without series": {"time_column": "time", "static": ("kind",)},
    "separator as decimal": {"separator": ",", "decimal": ","},
    "target twice": MANY | {"target": ("a", "a")},
    "target as covariate": {"target": ("a",), "past_covariates": ("a",)},
    "covariate twice": MANY | {"future_covariates": ("free", "free")},
    "both covariates": MANY
    | {"past_covariates": ("free",), "future_covariates": ("free",)},
    "time as series": {"time_column": "time", "id_column": "time"},
    "static as series": MANY | {"static": ("id",)},
    "static twice": MANY | {"static": ("kind", "kind")},
    "time as target": MANY | {"target": ("time",)},
}


@pytest.mark.parametrize("form", WRONG_FORMS)
def test_wrong_forms_are_refused_wherever_rows_are(form, tmp_path):
    file = written(tmp_path, frame())
    with pytest.raises(UserError) as wrong:  # noqa: PT011 - any, but the same
        SeriesFormat(**WRONG_FORMS[form]).check()
    said = f"^{re.escape(str(wrong.value))}$"
    for mode in ("memory", "disk", "auto"):
        with pytest.raises(UserError, match=said):
            load(file, mode, **WRONG_FORMS[form])
    assert not (tmp_path / "cache").exists()


def line_changed(first, old, new):
    """Return a change of the first of some lines that holds a text."""

    def change(text):
        lines = text.splitlines()
        number = next(i for i in range(first, len(lines)) if old in lines[i])
        lines[number] = lines[number].replace(old, new)
        return "\n".join(lines) + "\n"

    return change


def changed(*changes):
    def change(text):
        for one in changes:
            text = one(text)
        return text

    return change


WRONG = {
    "no column": (None, {"target": ("z",)}),
    "no column of ids": (None, {"id_column": "z"}),
    "static is not constant": (line_changed(120, ",x,", ",z,"), {}),
    "no id": (line_changed(100, ",a,", ",,"), {}),
    "wrong number": (
        line_changed(
            150,
            ",",
            ",one",
        ),
        {},
    ),
    "wrong time": (line_changed(150, "2023", "1x3"), {}),
    "fields": (lambda text: text + "1,2\n", {}),
    "two mistakes": (
        changed(
            line_changed(10, ",x,", ",=B1,"), line_changed(150, "2023", "soon")
        ),
        {},
    ),
    "numbers before static": (
        changed(line_changed(5, ",x,", ",z,"), line_changed(170, "0.", "x.")),
        {},
    ),
    "first of steps, not of series": (
        changed(
            # The first series is constant, and another has a gap.
            lambda text: "\n".join(
                line.rpartition(",")[0] + ",5" if ",b," in line else line
                for line in text.splitlines()
            ),
            lambda text: "\n".join(
                line
                for i, line in enumerate(text.splitlines())
                if i not in (150, 151)
            ),
        ),
        {"target": ("b",), "past_covariates": ("wind",)},
    ),
    "steps of other lengths": (
        lambda text: "\n".join(
            line
            for i, line in enumerate(text.splitlines())
            if ",c," not in line or i % 2
        ),
        {},
    ),
    "too short": (None, {"lookback": 50}),
    "calendar without dates": (
        lambda text: "\n".join(
            line if i == 0 else f"{i}{line[19:]}"
            for i, line in enumerate(text.splitlines())
        ),
        {"calendar": ("hour",)},
    ),
    "many words": (
        lambda text: text.replace(",x,0,", ",x,n/v,").replace(
            ",y,3,", ",y,off,"
        ),
        {"past_covariates": ("free",)},
    ),
    "local and other times": (line_changed(150, ":00:00", ":00:00Z"), {}),
    "empty": (lambda text: "", {}),
    "no rows": (lambda text: text.splitlines()[0] + "\n", {}),
    "names": (lambda text: text.replace("wind", "a", 1), {}),
    "quote": (line_changed(20, ",a,", ',"a,'), {}),
    "no name": (lambda text: text.replace("wind", "", 1), {"target": ()}),
    "bytes": (None, {"encoding": "utf-7x"}),
    "far": (
        lambda text: text.rpartition(",")[0] + ",1e50\n",
        {"target": ("a", "b")},
    ),
}


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_get_the_line_that_they_get_in_memory(
    case, mixed, tmp_path
):
    change, keys = WRONG[case]
    file = written(tmp_path, frame(mixed=mixed))
    text = file.read_text()
    file.write_text(change(text) if change else text)
    keys = MANY | {"target": ("a",), "static": ("kind",)} | keys
    said = []
    for mode in ("memory", "disk"):
        with pytest.raises(UserError, match=r"series|encoding|need") as caught:
            load(file, mode, **keys)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "\n" not in said[0]
    assert not [*cache.root().glob("*")]
    assert not [*cache.root().glob(".*")]


def test_rows_of_series_are_not_read_from_the_file_one_by_one(tmp_path):
    file = written(tmp_path, frame())
    with pytest.raises(UserError, match='must be "memory" or "disk" for ser'):
        load(file, "none", **MANY)


def test_pack_says_what_keeps_rows_of_series(tmp_path):
    splits = load(written(tmp_path, frame()), "memory", **CASES["previous"][2])
    with pytest.raises(UserError, match=r'data\.cache = "disk" keeps rows'):
        records.pack(splits, tmp_path / "packed")


def test_rows_are_kept_until_the_file_changes(tmp_path):
    file = written(tmp_path, frame())
    keys = MANY | {"target": ("a",)}
    assert load(file, "disk", **keys).remarks == ()
    assert load(file, "disk", **keys).remarks == ()
    os.utime(file, (1, 1))
    (remark,) = load(file, "disk", **keys).remarks
    assert remark == f"{file}: has changed since it was last read."
    assert len([x for x in cache.root().iterdir() if x.is_dir()]) == 1


def test_another_split_has_rows_of_its_own(tmp_path):
    file = written(tmp_path, frame())
    keys = MANY | {"target": ("a",)}
    for split in SPLIT_KEYS:
        right = load(file, "memory", **keys, **split)
        check_same(load(file, "disk", **keys, **split), right)
    assert len([*cache.root().iterdir()]) == len(SPLIT_KEYS)


@pytest.mark.parametrize("file", ["0.bin", "about.json", "digests.bin"])
def test_damage_is_found(file, tmp_path):
    source = written(tmp_path, frame())
    keys = MANY | {"target": ("a",)}
    load(source, "disk", **keys)
    (path,) = cache.root().glob(f"*/{file}")
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(UserError, match=r"is damaged\. Delete .*made again"):
        load(source, "disk", **keys)


@pytest.mark.parametrize("count", [1, 7, 63, 64, 65, 200, 1001])
@pytest.mark.parametrize("columns", [1, 2, 3, 8])
def test_moments_are_those_of_numpy(count, columns, tmp_path):
    values = np.random.default_rng(0).normal(3, 2, (count, columns))
    values = values.astype("float32")
    values[:, -1] = 1 if columns > 2 else values[:, -1]
    measured = moments.Moments(tmp_path / "rows", columns)
    for part in np.array_split(values, min(count, 13)):
        measured.add(part)
    mean, scale = measured.measure()
    whole = values.astype("float64")
    np.testing.assert_array_equal(mean, whole.mean(axis=0))
    varies = np.ptp(whole, axis=0) > 0
    right = np.where(varies, whole.std(axis=0), 1.0)
    np.testing.assert_array_equal(scale, right)


@pytest.mark.parametrize("length", [1, 3, 12, 60])
def test_spans_of_blocks_are_those_of_rows(length):
    values = np.random.default_rng(0).random((83, 2), "f4")
    parts = [values[i : i + 10] for i in range(0, 83, 10)]
    held = np.concatenate([*rows.blocks(iter(parts))])

    class Blocks(lazy.Lazy):
        def read(self, indices):
            return held[indices]

    kept = rows.BlockRows(Blocks(held.shape, "f4"), len(values))
    np.testing.assert_array_equal(kept[:], values)
    starts = np.array([20, 0, 83 - length, 20])
    right = [values[start : start + length] for start in starts]
    np.testing.assert_array_equal(kept.spans(starts, length), right)
    assert kept.spans(starts[:0], length).shape == (0, length, 2)
    assert len(kept) == 83


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("targets", [None, 2])
def test_windows_of_memory_are_read_part_by_part(targets, shared):
    values = np.random.default_rng(0).random((50, 3), "f4")
    starts = np.arange(40) if shared else np.array([0, 1, 2, 9, 10, 30])
    windows = data.Windows(
        values, 6, 3, starts=starts, targets=targets, past_covariates=1
    )
    given = dataclasses.replace(windows, targets=targets or 3)
    for name, right in of_arrays(given).items():
        found = getattr(windows, name)
        np.testing.assert_array_equal(found[:], right)
        np.testing.assert_array_equal(found[3:5], right[3:5])
        is_view = shared and not (targets and name == "inputs")
        assert isinstance(found, np.ndarray) == is_view
        assert is_view == np.may_share_memory(found[:], values)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_parts_of_a_table_are_the_whole_of_it(form, tmp_path):
    pytest.importorskip("pyarrow") if form == "parquet" else None
    found = frame().reset_index(drop=True)
    found.loc[150, "free"] = np.nan  # so that all of it are floats
    found["count"] = found["free"].astype("Int64")
    file = tmp_path / f"series.{form}"
    if form == "csv":
        found.to_csv(file, index=False)
    else:
        found.to_parquet(file, row_group_size=70)
    source = opened(file, "", "utf-8", by_row=False)
    names = ["free", "id", "count"]
    parts = [*source.parts(names)]
    assert {len(part) for part in parts[:-1]} <= set(range(1, 18))
    pd.testing.assert_frame_equal(pd.concat(parts), source.whole(names))


def test_parts_of_a_file_that_changes_are_not_taken(tmp_path):
    file = written(tmp_path, frame())
    source = opened(file, "", "utf-8", by_row=False)
    parts = source.parts(["a"])
    next(parts)
    os.utime(file, (1, 1))
    with pytest.raises(UserError, match="has changed since it was opened"):
        list(parts)


def test_file_is_read_once_a_few_rows_at_a_time(tmp_path, monkeypatch):
    file = written(tmp_path, frame())
    keys = MANY | {"target": ("a",), "static": ("kind",)}
    first = load(file, "disk", **keys)
    monkeypatch.setattr(_Stream, "__init__", None)  # which reads the file
    assert load(file, "disk", **keys).series == first.series


@pytest.mark.long
@pytest.mark.parametrize("case", ["series mixed", "covariates", "one series"])
def test_tasks_are_those_of_series_in_memory(case, tmp_path, monkeypatch):
    make, _, keys = CASES[case]
    section = {"name": "csv_series", "file": str(written(tmp_path, make()))}
    section |= {"lookback": 24, "horizon": 3}
    section |= {
        key: [*value] if isinstance(value, tuple) else value
        for key, value in keys.items()
    }
    said, batches, kernels = [], [], []
    tasks = [
        make_task(
            Recipe.parse(
                {
                    "model": {"architecture": "bp_transformer"},
                    "data": section | {"cache": mode},
                    "training": {"batch_size": 8},
                }
            )
        )
        for mode in ("disk", "memory")
    ]
    for task, size in zip(tasks, (0, 2**26), strict=True):
        monkeypatch.setattr(windows_module, "_LITTLE", size)
        rng = np.random.default_rng(0)
        outputs = rng.normal(size=task.splits.test.labels.shape)
        outputs = outputs.astype("float32")
        count = task.splits.train.horizon, len(task.splits.names)
        intervals = task.calibrate(
            lambda x, count=count: np.full((len(x), *count), 0.5, "float32")
        )
        said.append(
            [
                task.score(outputs),
                task.details(outputs),
                task.starts,
                task.tables(outputs),
                intervals,
                task.files(),
                task.figures(outputs),
            ]
        )
        kernels.append(task.ridge_kernel)
        batches.append(
            [
                [x.numpy().tolist() for x in batch]
                for batch in (
                    *task.training_batches(seed=1).take(5),
                    *task.batches("test").take(5),
                    *task.calibration_batches().take(2),
                )
            ]
        )
    assert said[0] == said[1]
    assert batches[0] == batches[1]
    np.testing.assert_array_equal(*kernels)
    first, kept = tasks[0].describe().splitlines()
    assert first == tasks[1].describe()
    assert "on the disk" in kept
