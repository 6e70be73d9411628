"""Runs with covariates, and what they forecast of files as people have them."""

import csv
import io
import json
import re
import shutil
from datetime import UTC, datetime, timedelta

import fresh
import loads
import numpy as np
import pytest
from rich.console import Console

from kbp import __main__ as main
from kbp import training
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import make_task

HORIZON = 24
INTERVAL = re.compile(r"_(low|high)_\d+$")
DAYS = 91  # to the end of March, when clocks are set forward
SMALL = {
    "model": {
        "architecture": "bp_transformer",
        "num_layers": 0,  # compiles faster
        "width": 16,
        "patch_size": 24,
    },
    "training": {"epochs": 4, "batch_size": 16},
    "quantization": {"epochs": 1, "calibration_examples": 256},
    "export": {"benchmark_rounds": 1},
}
LOAD = {
    "name": "csv_series",
    "time_column": "Zeit",
    "date_format": "%d.%m.%Y %H:%M",
    "time_zone": "Europe/Berlin",
    "decimal": ",",
    "target": ["Last in MW"],
    "future_covariates": ["Feiertag"],
    "calendar": ["hour", "weekday"],
    "missing": "interpolate",
    "encoding": "cp1252",
    "lookback": 168,
    "horizon": HORIZON,
}


def run(data, folder):
    console = Console(file=io.StringIO(), width=120)
    recipe = Recipe.parse(SMALL | {"data": data})
    return training.run(recipe, folder, console=console), console


def rows_of(file):
    """Return the cells of a forecast, but those of intervals."""
    with file.open() as stream:
        header, *rows = csv.reader(stream)
    kept = [at for at, name in enumerate(header) if not INTERVAL.search(name)]
    return [[row[at] for at in kept] for row in (header, *rows)]


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Return the file of a load that ends a day before clocks go forward."""
    folder = tmp_path_factory.mktemp("load")
    loads.write(folder / "all.csv")
    lines = (folder / "all.csv").read_text("cp1252").splitlines()
    known, cut = 1 + 24 * (DAYS - 8 + 1), []
    for row, line in enumerate(lines[: known + 30]):
        time, value, free = line.split(";")
        cut.append(";".join([time, value if row < known else "", free]))
    file = folder / "load.csv"
    file.write_text("\n".join(cut), encoding="cp1252")
    return file


@pytest.fixture(scope="module")
def finished(load, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "load"
    stages, console = run(LOAD | {"file": str(load)}, workdir)
    return workdir, stages, console.file.getvalue()


@pytest.mark.slow
def test_run_says_what_rules_did(finished):
    workdir, stages, text = finished
    assert "1 missing values filled in" in text
    # So few steps in 8 bits leave them a little worse.
    assert stages[-1].score < 1.2 * stages[0].score
    assert not (workdir / "categories.json").exists()
    assert "Forecasts of the int8 file" in (workdir / "report.html").read_text()


@pytest.mark.long
def test_covariates_make_forecasts_better(finished, load):
    task = make_task(Recipe.parse(SMALL | {"data": LOAD | {"file": str(load)}}))
    _, stages, _ = finished
    # The best linear forecast knows of the past alone.
    ridge = task.others["ridge"](task.splits.test.past)
    assert stages[-1].score < 0.8 * task.score(ridge)


@pytest.mark.parametrize("name", ["", "model.keras"])
def test_forecast_is_dated_in_the_offset_of_its_date(
    name, finished, load, tmp_path, capsys
):
    words = ["forecast", str(finished[0] / name), str(load)]
    assert main.main([*words, "--out", str(tmp_path)]) == 0
    assert "1 missing values filled in" in capsys.readouterr().out
    header, *rows = rows_of(tmp_path / "load_forecast.csv")
    assert header == ["Zeit", "Last in MW"]
    begin = datetime(2023, 3, 25, 23, tzinfo=UTC)
    expected = [
        (begin + timedelta(hours=h)).astimezone(loads.BERLIN)
        for h in range(HORIZON)
    ]
    assert [row[0] for row in rows] == [str(time) for time in expected]
    assert {row[0][-6:] for row in rows} == {"+01:00", "+02:00"}
    times, load_in_mw, _ = loads.series()
    first = times.index(expected[0])
    truth = load_in_mw[first : first + HORIZON]
    found = np.array([float(row[1]) for row in rows])
    assert np.abs(found - truth).mean() < 40


def test_what_is_known_ahead_changes_the_forecast(finished, load, tmp_path):
    found = []
    for free in "01":
        file = tmp_path / f"days{free}.csv"
        lines = load.read_text("cp1252").splitlines()
        lines = [
            line[:-1] + free if line.split(";")[1] == "" else line
            for line in lines
        ]
        file.write_text("\n".join(lines), encoding="cp1252")
        out = tmp_path / free
        words = ["forecast", str(finished[0]), str(file), "--out", str(out)]
        assert main.main(words) == 0
        rows = rows_of(out / f"days{free}_forecast.csv")[1:]
        found.append([float(row[1]) for row in rows])
    assert not np.allclose(*found, atol=1.0)


def test_later_rows_may_lie_in_another_file(finished, load, tmp_path):
    lines = load.read_text("cp1252").splitlines()
    known = [line for line in lines if line.split(";")[1]]
    (tmp_path / "load.csv").write_text("\n".join(known), encoding="cp1252")
    times = [line.split(";")[::2] for line in lines[len(lines) - 30 :]]
    later = tmp_path / "days.csv"
    later.write_text(
        "\n".join(["Zeit;Feiertag", *(";".join(pair) for pair in times)]),
        encoding="cp1252",
    )
    outputs = []
    for file, more in (
        (load, []),
        (tmp_path / "load.csv", ["--future", str(later)]),
    ):
        out = tmp_path / str(len(outputs))
        words = ["forecast", str(finished[0]), str(file), *more]
        assert main.main([*words, "--out", str(out)]) == 0
        outputs.append((out / "load_forecast.csv").read_text())
    assert outputs[0] == outputs[1]


def test_bare_file_is_told_what_to_read(finished, load, tmp_path):
    file = tmp_path / "model_int8.tflite"
    shutil.copy(finished[0] / file.name, file)
    words = [
        *("forecast", str(file), str(load), "--time-column", "Zeit"),
        *("--date-format", LOAD["date_format"], "--decimal", ","),
        *("--time-zone", "Europe/Berlin", "--target", "Last in MW"),
        *("--future-covariates", "Feiertag", "--missing", "interpolate"),
        *("--calendar", "hour", "weekday", "--encoding", "cp1252"),
    ]
    out = tmp_path / "bare"
    assert main.main([*words, "--out", str(out)]) == 0
    words = ["forecast", str(finished[0]), str(load)]
    assert main.main([*words, "--out", str(tmp_path / "run")]) == 0
    name = "load_forecast.csv"
    assert rows_of(out / name) == rows_of(tmp_path / "run" / name)


def test_several_columns_are_forecast_with_the_same_covariates(
    finished, load, tmp_path
):
    lines = load.read_text("cp1252").splitlines()
    file = tmp_path / "two.csv"
    cells = [line.split(";") for line in lines]
    rows = ["Zeit;Last in MW;Feiertag;Netz"]
    for time, value, free in cells[1:]:
        other = value and f"{20 * float(value.replace(',', '.')) - 7000:.1f}"
        rows.append(f"{time};{value};{free};{other.replace('.', ',')}")
    file.write_text("\n".join(rows), encoding="cp1252")
    words = ["forecast", str(finished[0]), str(file)]
    words += ["--target", "Netz", "Last in MW", "--out", str(tmp_path)]
    assert main.main(words) == 0
    header, *rows = rows_of(tmp_path / "two_forecast.csv")
    assert header == ["Zeit", "Netz", "Last in MW"]
    values = np.array([row[1:] for row in rows], float)
    # What a model makes of a window does not depend on its unit, but 8-bit
    # steps may fall otherwise.
    deviation = values[:, 1].std()
    np.testing.assert_allclose(
        (values[:, 0] + 7000) / 20, values[:, 1], atol=0.1 * deviation
    )


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            lambda lines: lines[:-12],
            [],
            "24 rows after the last values of Last in MW must hold Feiertag; "
            "18 do",
        ),
        (lambda lines: lines, ["--time-zone", "Berlin"], "unknown 'Berlin'"),
        (lambda lines: lines, ["--target", "Lust"], "no column 'Lust'"),
        (lambda lines: lines, ["--missing", "refuse"], "1 values are missing"),
        (lambda lines: lines, ["--time-column", ""], "needs a time_column"),
        (lambda lines: lines, ["--calendar", "hour"], "recipe, hour weekday"),
        (
            lambda lines: lines,
            ["--static", "Zeit"],
            "static needs an id_column",
        ),
        (
            lambda lines: [*lines[:9], "2023-01-01 08:00;1,0;1", *lines[10:]],
            [],
            "line 10: the time '2023-01-01 08:00' does not fit",
        ),
        (lambda lines: [lines[0], *lines[-150:]], [], "looks back on 168"),
    ],
)
def test_what_cannot_be_forecast_is_said_in_one_line(
    change, options, message, finished, load, tmp_path, capsys
):
    lines = change(load.read_text("cp1252").splitlines())
    file = tmp_path / "load.csv"
    file.write_text("\n".join(lines), encoding="cp1252")
    out = tmp_path / "out"
    words = ["forecast", str(finished[0]), str(file), *options]
    assert main.main([*words, "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not out.exists()


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """Return a file of three sites of two kinds, which respond otherwise."""
    rng = np.random.default_rng(0)
    file = tmp_path_factory.mktemp("sites") / "sites.csv"
    lines = ["time,site,kind,used,open"]
    for row in range(400):
        time = datetime(2023, 5, 1) + timedelta(hours=row)
        for site, kind, unit in (
            ("north", "shop", 1.0),
            ("south", "shop", 50.0),
            ("west", "plant", 7.0),
        ):
            is_open = int(rng.random() < 0.4)
            used = np.sin(row / 4) + (-2 if kind == "shop" else 2) * is_open
            lines.append(
                f"{time},{site},{kind},{unit * (used + 9):.4f},{is_open}"
            )
    file.write_text("\n".join(lines))
    return file


SITES = {
    "name": "csv_series",
    "time_column": "time",
    "id_column": "site",
    "target": ["used"],
    "past_covariates": ["open"],
    "static": ["kind"],
    "lookback": 48,
    "horizon": 6,
}


@pytest.mark.slow
def test_many_series_of_one_file_are_forecast_each(sites, tmp_path, capsys):
    workdir, out = tmp_path / "run", tmp_path / "out"
    _, console = run(SITES | {"file": str(sites)}, workdir)
    assert "Everything is in" in console.file.getvalue()
    found = json.loads((workdir / "categories.json").read_text())
    assert found == {"kind": ["plant", "shop"]}
    found = json.loads((workdir / "run.json").read_text())["tables"]
    rows = found["Errors by series"]["rows"]
    assert [row[0] for row in rows] == ["north", "south", "west"]
    assert "Errors by series" in (workdir / "report.html").read_text()
    # Beside one that is 50 times as large, the small ones count for nothing.
    own, *_ = (found[x] for x in found if x.startswith("Errors on the test"))
    assert own["rows"][-1][1:3] == ["-", "-"]
    words = ["forecast", str(workdir), str(sites), "--out"]
    assert main.main([*words, str(out)]) == 0
    assert "before" not in capsys.readouterr().out
    header, *rows = rows_of(out / "sites_forecast.csv")
    assert header == ["time", "site", "used"]
    assert [row[1] for row in rows] == [
        site for site in ("north", "south", "west") for _ in range(6)
    ]
    last = datetime(2023, 5, 1) + timedelta(hours=399)
    hours = [str(last + timedelta(hours=h + 1)) for h in range(6)]
    assert [row[0] for row in rows] == 3 * hours
    values = np.array([row[2] for row in rows], float).reshape(3, 6)
    for row, unit in zip(values, (1.0, 50.0, 7.0), strict=True):
        assert 4 * unit < row.mean() < 14 * unit
    # Each goes on from its own end, in the file's encoding.
    lines = sites.read_text().replace("west", "Süd").splitlines()
    early = [x for x in lines if "Süd" not in x or x < "2023-05-10"]
    ended = tmp_path / "ended.csv"
    ended.write_text("\n".join(early), encoding="cp1252")
    capsys.readouterr()
    words = ["forecast", str(workdir), str(ended), "--encoding", "cp1252"]
    assert main.main([*words, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert (
        f"1 of 3 series ends before {last}, and is forecast from the last row "
        "of its own: 'Süd' at 2023-05-09 23:00:00."
    ) in said
    text = (out / "ended_forecast.csv").read_text(encoding="cp1252")
    assert "2023-05-10 00:00:00,Süd," in text
    # A kind that is new is none of those that were learned.
    words = ["forecast", str(workdir), str(sites), "--out"]
    other = tmp_path / "sites.csv"
    other.write_text(sites.read_text().replace("plant", "office"))
    words = ["forecast", str(workdir), str(other), "--out"]
    capsys.readouterr()
    assert main.main([*words, str(tmp_path / "other")]) == 0
    said = capsys.readouterr().out
    assert "1 series of the unknown kind 'office', which counts as no" in said
    (workdir / "categories.json").unlink()
    capsys.readouterr()
    assert main.main([*words, str(tmp_path / "held")]) == 0  # by the file
    words[1] = str(workdir / "model.keras")
    assert main.main([*words, str(tmp_path / "none")]) == 2
    assert "categories of kind" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"model": {"architecture": "pyramid_bpnet"}},
            "'pyramid_bpnet' takes no covariates",
        ),
        ({"training": {"epochs": 0}}, "at least 1 with covariates"),
        (
            {"model": SMALL["model"] | {"num_targets": 1}},
            "unknown key model.num_",
        ),
    ],
)
def test_recipe_that_cannot_use_covariates_is_refused(sections, message, load):
    data = {"data": LOAD | {"file": str(load)}}
    with pytest.raises(UserError, match=message):
        make_task(Recipe.parse(SMALL | data | sections)).build()


def test_guide_says_when_a_model_is_its_linear_skip_alone(load):
    guide = " ".join((fresh.ROOT / "docs" / "series.md").read_text().split())
    (said,) = re.findall(r"With `num_layers = 0`[^.]*\.", guide)
    none = {"epochs": 0}
    sections = SMALL | {
        "model": {"architecture": "bp_transformer", "num_layers": 0},
        "training": none,
        "quantization": none,
    }
    bare = {"name": "csv_series", "file": str(load), "lookback": 48}
    keys = ("time_column", "date_format", "time_zone", "decimal", "target")
    bare |= {x: LOAD[x] for x in (*keys, "missing", "horizon") if x in LOAD}
    make_task(Recipe.parse(sections | {"data": bare}))
    with pytest.raises(UserError, match="at least 1 with covariates"):
        make_task(
            Recipe.parse(sections | {"data": bare | {"calendar": ["hour"]}})
        )
    assert "without covariates is its linear skip alone" in said


PAGE = fresh.ROOT / "docs" / "forecasting.md"


def forecast_of_the_page(capsys):
    """Run the page's example for LiteRT, and return what it forecasts."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found = {}
    exec(code, found)  # in the folder that the page speaks of
    assert str(found["forecast"].round(1)) in capsys.readouterr().out
    return found["forecast"]


def test_example_of_the_docs_gives_the_same_numbers(
    finished, load, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "load").symlink_to(finished[0])
    (tmp_path / "load.csv").symlink_to(load)
    words = "forecast runs/load load.csv --out forecasts"
    assert main.main(words.split()) == 0
    rows = rows_of(tmp_path / "forecasts" / "load_forecast.csv")[1:]
    written = [float(row[1]) for row in rows]
    np.testing.assert_allclose(forecast_of_the_page(capsys), written, atol=6e-4)


@pytest.mark.slow
def test_page_of_the_docs_forecasts_a_load(tmp_path, monkeypatch, capsys):
    text = PAGE.read_text()
    (recipe,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    commands = re.findall(r"^python -m kbp (.*)$", text, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    times, load, _ = loads.write(tmp_path / "load.csv")
    (tmp_path / "load.toml").write_text(recipe)
    assert len(commands) == 2
    for command in commands:
        assert main.main(command.split()) == 0
    rows = rows_of(tmp_path / "forecasts" / "load_forecast.csv")[1:]
    assert [row[0] for row in rows] == [
        str(time) for time in times[loads.HOURS :]
    ]
    gaps = [
        abs(float(row[1]) - x)
        for row, x in zip(rows, load[loads.HOURS :], strict=True)
    ]
    assert np.mean(gaps) < 20
    written = [float(row[1]) for row in rows]
    np.testing.assert_allclose(forecast_of_the_page(capsys), written, atol=6e-4)
    stages = json.loads((tmp_path / "runs/load/run.json").read_text())["stages"]
    scores = {stage["name"]: stage["score"] for stage in stages}
    assert scores["int8 .tflite"] < 1.01 * scores["trained"]
    without = Recipe.read(tmp_path / "load.toml").with_settings(
        ["data.future_covariates=[]", "data.calendar=[]"]
    )
    console = Console(file=io.StringIO())
    alone = training.run(without, tmp_path / "alone", console=console)
    assert scores["trained"] < 0.5 * alone[0].score
