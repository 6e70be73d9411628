"""What a forecasting model was trained on is checked where it is used."""

import argparse
import dataclasses
import io
import json
import re
import shutil
from datetime import datetime, timedelta

import numpy as np
import pandas
import pytest
from rich.console import Console

from kbp import __main__ as main
from kbp import training
from kbp._utils.run_files import SERIES
from kbp.data.formats import series_table
from kbp.data.formats.series_format import SeriesFormat
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import make_task
from kbp.tasks.forecasts.trained_on import TrainedOn, matched
from kbp.tasks.predict_series import SeriesPrediction
from kbp.tasks.prediction import OpenModel

ROWS = 300
FORM = {
    "time_column": "time",
    "target": ["load"],
    "past_covariates": ["wind", "rain"],
    "future_covariates": ["free", "price"],
    "calendar": ["hour"],
}
UNITS = {"load": 500, "wind": 5, "rain": 2, "free": 1, "price": 40}


def lines(rows=ROWS, step=timedelta(hours=1), offset="+01:00", **change):
    """Return a file whose columns can be changed, and renamed to a pair."""
    rng = np.random.default_rng(0)
    begin = datetime(2023, 1, 2)
    cells = {"time": [f"{begin + i * step}{offset}" for i in range(rows)]}
    for name, unit in UNITS.items():
        cells[name] = unit * (5 + np.sin(np.arange(rows)) + rng.random(rows))
    for name, edit in change.items():
        cells[name] = edit(cells[name])
    return [
        ",".join(cells),
        *(",".join(map(str, x)) for x in zip(*cells.values(), strict=True)),
    ]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "load.csv"
    file.write_text("\n".join(lines()))
    return file


def recipe(file, **data):
    own = {"name": "csv_series", "file": str(file), "lookback": 24}
    return Recipe.parse(
        {
            "model": {
                "architecture": "bp_transformer",
                "num_layers": 0,
                "width": 8,
                "patch_size": 12,
            },
            "data": own | FORM | {"horizon": 6} | data,
            "training": {"epochs": 1, "batch_size": 32},
            "quantization": {"epochs": 0, "calibration_examples": 256},
            "export": {"benchmark_rounds": 1},
        }
    )


@pytest.fixture(scope="module")
def trained(file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "load"
    training.run(recipe(file), folder, console=Console(file=io.StringIO()))
    return folder


def forecast(model, file, out, *options):
    """Forecast after all but the last rows, of which some is known ahead."""
    content = [line.split(",") for line in file.read_text().splitlines()]
    for row in content[-6:]:
        row[1] = ""  # the load
    ahead = out.parent / f"{out.name}.csv"
    ahead.write_text("\n".join(map(",".join, content)))
    words = ["forecast", str(model), str(ahead), *options, "--out", str(out)]
    return main.main(words), out / f"{out.name}_forecast.csv"


@pytest.mark.long
def test_run_leaves_what_it_was_trained_on(trained):
    told = json.loads((trained / "series.json").read_text())
    assert told["channels"] == [
        *("load", "wind", "rain", "free", "price"),
        *("hour sine", "hour cosine"),
    ]
    assert (told["lookback"], told["horizon"]) == (24, 6)
    assert (told["step"], told["zone"]) == ("1:00:00", "UTC+01:00")
    for level, unit in zip(told["mean"], UNITS.values(), strict=True):
        assert level == pytest.approx(5.5 * unit, rel=0.05)


@pytest.mark.parametrize("name", ["", "model_int8.tflite"])
def test_covariates_are_found_by_name_not_by_place(
    name, trained, file, tmp_path
):
    if name:  # a file alone with what lies beside it, and no recipe
        folder = tmp_path / "alone"
        folder.mkdir()
        for beside in (name, "series.json"):
            shutil.copy(trained / beside, folder)
        trained = folder / name
    given = [] if not name else ["--time-column", "time", "--target", "load"]
    order = ["--past-covariates", "wind", "rain", "--future-covariates"]
    order += ["free", "price", "--calendar", "hour"]
    other = ["--past-covariates", "rain", "wind", "--future-covariates"]
    other += ["price", "free", "--calendar", "hour"]
    texts = []
    for place, words in enumerate((order, other)):
        out = tmp_path / str(place)
        code, result = forecast(trained, file, out, *given, *words)
        assert code == 0
        texts.append(result.read_text())
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("option", "names", "own"),
    [
        ("--past-covariates", ["wind", "price"], "wind rain"),
        ("--past-covariates", ["wind"], "wind rain"),
        ("--future-covariates", ["free", "cost"], "free price"),
        ("--calendar", ["weekday"], "hour"),
    ],
)
def test_other_covariates_are_refused_by_name(
    option, names, own, trained, file, tmp_path, capsys
):
    words = [option, *names]
    if "price" in names and option == "--past-covariates":
        words += ["--future-covariates", "free", "rain"]
    code, _ = forecast(trained, file, tmp_path / "out", *words)
    assert code == 2
    said = capsys.readouterr().err
    assert f"{option} must be that of the model's recipe, {own}" in said
    assert said.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, None),
        ({"load": lambda x: x / 1000}, "'load' has values around"),
        ({"load": lambda x: x * 1000}, "'load' has values around"),
        ({"wind": lambda x: x * 3.6}, "'wind' has values around"),
        ({"price": lambda x: x - 300}, "'price' has values around"),
        ({"step": timedelta(minutes=15)}, "rows 1:00:00 apart, and these are"),
        ({"offset": "+05:00"}, "calendar of times in UTC+01:00"),
        ({"offset": ""}, "calendar of times in UTC+01:00"),
    ],
    ids=lambda x: (
        ("same" if x is None else x[:16])
        if x is None or isinstance(x, str)
        else ""
    ),
)
def test_rows_that_do_not_fit_are_warned_of(
    change, words, trained, tmp_path, capsys
):
    file = tmp_path / "new.csv"
    file.write_text("\n".join(lines(60, **change)))
    code, _ = forecast(trained, file, tmp_path / "out")
    assert code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert ("Warning" in said) == (words is not None)
    assert (words or "") in said


def test_any_column_may_be_forecast_at_its_own_level(trained, tmp_path, capsys):
    content = lines(60)
    content[0] = content[0].replace("load", "other")
    file = tmp_path / "new.csv"
    file.write_text("\n".join(content))
    code, _ = forecast(trained, file, tmp_path / "out", "--target", "other")
    assert code == 0
    assert "Warning" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"past_covariates": ["rain", "wind"]}, "past_covariates wind rain"),
        ({"horizon": 5, "lookback": 25}, "lookback 24"),
        ({"resample": "2h"}, "step 1:00:00"),
        ({"time_zone": "Europe/Berlin"}, r"zone UTC\+01:00"),
    ],
)
def test_evaluate_refuses_data_of_another_kind(
    data, key, trained, file, tmp_path, capsys
):
    other = tmp_path / "other.toml"
    other.write_text(recipe(file, **data).to_toml())
    model = str(trained / "model_int8.tflite")
    assert main.main(["evaluate", model, "--recipe", str(other)]) == 2
    said = capsys.readouterr().err
    assert re.search(rf"series\.json: was trained with the {key}, and", said)


def test_file_of_something_else_is_named(trained, file, tmp_path, capsys):
    shutil.copy(trained / "model_int8.tflite", tmp_path)
    (tmp_path / "series.json").write_text('{"targets": []}')
    model = tmp_path / "model_int8.tflite"
    code, _ = forecast(model, file, tmp_path / "out")
    assert code == 2
    assert "series.json: does not say what series" in capsys.readouterr().err


def test_text_gives_the_same_again(file):
    task = make_task(recipe(file))
    known = TrainedOn.of(task.splits, task.recipe)
    assert TrainedOn.from_json(known.to_json()) == known
    table = series_table.read(file, task.recipe.data.config.format)
    assert not known.misfits(table)
    known.check(known)


def test_targets_of_a_model_of_certain_columns_are_matched(file):
    task = make_task(recipe(file))
    known = dataclasses.replace(
        TrainedOn.of(task.splits, task.recipe),
        targets=("a", "b"),
        by_channel=False,
    )
    own = SeriesFormat(**{k: getattr(known, k) for k in ("calendar", "static")})
    own = dataclasses.replace(
        own,
        past_covariates=known.past_covariates,
        future_covariates=known.future_covariates,
    )
    given = dataclasses.replace(own, target=("b", "a"))
    assert known.matched(given).target == ("a", "b")
    assert matched(given, known, by_channel=True).target == ("b", "a")
    assert known.matched(own).target == ("a", "b")
    assert matched(own, known, by_channel=True).target == ()
    with pytest.raises(UserError, match=r"--target must be that of .* a b;"):
        known.matched(dataclasses.replace(own, target=("b", "c")))


@pytest.mark.parametrize(
    ("place", "named"), [(SERIES, ""), (SERIES, "cab"), (None, "cab")]
)
@pytest.mark.parametrize("architecture", ["recurrent", "bp_transformer"])
def test_columns_are_found_by_name_in_any_file(
    architecture, place, named, tmp_path
):
    values = {"a": np.arange(60.0), "b": np.arange(60.0) % 7 + 200}
    frame = pandas.DataFrame(values | {"c": 900 + np.arange(60.0) % 5})
    frame.to_csv(tmp_path / "learned.csv", index=False)
    data = {"name": "csv_series", "file": str(tmp_path / "learned.csv")}
    data |= {"target": [*named], "lookback": 6, "horizon": 2}
    learned = Recipe.parse(
        {"model": {"architecture": architecture}, "data": data}
    )
    task = make_task(learned)
    if place:
        (tmp_path / place).write_text(task.files()[place])
    forecasts = []
    shift = 0.0 if architecture == "bp_transformer" else np.arange(3.0)
    model = OpenModel(
        tmp_path / "model.keras",
        lambda x: np.repeat(x[:, -1:] + shift, 2, axis=1),
        task.shape,
        (2, 3),
    )
    options = dict.fromkeys(f.name for f in dataclasses.fields(SeriesFormat))
    for order in ("abc", "cba", "bca"):
        file, out = tmp_path / f"{order}.csv", tmp_path / f"to_{order}"
        frame[[*order]].to_csv(file, index=False)
        SeriesPrediction.run(
            model,
            learned,
            argparse.Namespace(csv=file, future=None, out=out, **options),
            Console(file=io.StringIO()),
        )
        found = pandas.read_csv(out / f"{order}_forecast.csv")
        forecasts.append(found[["a", "b", "c"]].round(3).to_csv())
    assert len({*forecasts}) == 1, forecasts


def test_missing_column_of_certain_columns_is_named(tmp_path):
    known = SeriesFormat(target=("a", "b"))
    file = tmp_path / "other.csv"
    file.write_text("a,c\n" + "1,2\n" * 9)
    with pytest.raises(UserError, match="has no column 'b'"):
        series_table.read(file, matched(SeriesFormat(), known, False))
