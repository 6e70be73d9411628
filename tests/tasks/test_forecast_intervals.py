"""Prediction intervals against loops, and their coverage of real data."""

import csv
import io
import json
import lzma
import math
from datetime import datetime, timedelta

import fresh
import numpy as np
import pytest
from rich.console import Console

from kbp import __main__ as main
from kbp import export, training, zoo
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import make_task
from kbp.tasks.forecasts import intervals as module
from kbp.tasks.forecasts.intervals import Intervals, calibrate
from kbp.tasks.forecasts.walk import outcomes, walk, walk_series

LEVELS = (80.0, 95.0)


def made(count=400, horizon=4, columns=2, lookback=16, seed=0):
    """Return past, outputs and labels whose errors grow with the deviation."""
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.5, 3, (count, 1, columns))
    past = scale * rng.normal(size=(count, lookback, columns))
    labels = scale * rng.normal(size=(count, horizon, columns))
    return past, np.zeros_like(labels), labels


def calibrated(past, outputs, labels, levels=LEVELS, **options):
    names = "abcdef"[: labels.shape[-1]]
    scale = np.ones((1, labels.shape[-1]))
    return calibrate(
        names, levels, past, outputs, labels, scale=scale, **options
    )


def test_widths_are_the_quantiles_of_a_loop():
    past, outputs, labels = made()
    found = calibrated(past, outputs, labels)
    assert found.rows in (16, 8, 4, 2)
    for level, step, column in np.ndindex(2, 4, 2):
        scores = sorted(
            abs(labels[w, step, column])
            / max(np.std(past[w, -found.rows :, column]), module.FLOOR)
            for w in range(len(past))
        )
        place = math.ceil((len(past) + 1) * LEVELS[level] / 100)
        assert found.widths[level, step, column] == pytest.approx(
            scores[place - 1], rel=1e-12
        )


@pytest.mark.parametrize("level", [50.0, 80.0, 95.0])
@pytest.mark.parametrize("count", [19, 20, 99, 100])
def test_coverage_of_exchangeable_windows_is_what_was_promised(level, count):
    """In the mean over calibrations it is level to level + 1 / (n + 1)."""
    rng = np.random.default_rng(0)
    scores = np.abs(rng.normal(size=(count + 1, 20_000)))
    if module.rank(count, level) == count:
        pytest.fail("so many windows are enough for these levels")
    (widths,) = module.quantiles(scores[:-1], [level])
    coverage = np.mean(scores[-1] <= widths)
    noise = 3 * math.sqrt(0.25 / 20_000)
    low = level / 100
    assert low - noise < coverage < low + 1 / (count + 1) + noise


def test_levels_that_so_few_windows_cannot_promise_are_left_out():
    found = calibrated(*made(count=18))
    assert found.levels == (80.0,)
    assert calibrated(*made(count=18), levels=(95.0,)) is None
    assert calibrated(*made(count=19)).levels == (80.0, 95.0)


def test_scale_of_the_widths_is_the_one_that_fits_the_errors():
    rng = np.random.default_rng(1)
    past, outputs, labels = made()
    # Errors follow the deviation of the last quarter, the rest is other.
    past[:, :12] = 5 * rng.uniform(0, 1, (len(past), 1, 2)) * past[:, :12]
    assert calibrated(past, outputs, labels).rows == 4


def test_window_that_does_not_vary_has_the_least_width():
    past, outputs, labels = made()
    past[3] = 7.0
    found = calibrated(past, outputs, labels)
    half = found.half_widths(past[3:4])
    np.testing.assert_allclose(half[0], module.FLOOR * found.widths)


def naive_walk(found, past, outputs, labels, rate):
    """Adapt window by window, looking back for what is known by then."""
    count, horizon, columns = labels.shape
    factors = np.ones((2, columns))
    missed = np.zeros((count, 2, horizon, columns), bool)
    inside = np.zeros((2, columns))
    for now in range(count + 1):
        for level, column in np.ndindex(2, columns):
            allowed = 1 - LEVELS[level] / 100
            excess = sum(
                missed[now - 1 - step, level, step, column] - allowed
                for step in range(min(now, horizon))
            )
            factors[level, column] *= math.exp(rate * excess / horizon)
        if now == count:
            break
        deviation = past[now, -found.rows :].std(axis=0)
        half = found.widths * deviation * factors[:, None]
        missed[now] = np.abs(labels[now] - outputs[now]) > half
        inside += (~missed[now]).mean(axis=1) / count
    return inside, factors


@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_walk_is_that_of_a_loop(rate):
    found = calibrated(*made())
    past, outputs, labels = made(count=60, seed=1)
    labels *= 2
    result = walk(
        found, past, outputs, labels, scale=np.full(2, 3.0), rate=rate
    )
    coverage, factors = naive_walk(found, past, outputs, labels, rate)
    np.testing.assert_allclose(result.coverage, coverage, rtol=1e-12)
    np.testing.assert_allclose(result.factors, factors, rtol=1e-12)
    np.testing.assert_allclose(result.unit_width, 3 * result.width)
    if not rate:
        half = found.half_widths(past)
        np.testing.assert_allclose(result.width, 2 * half.mean(axis=(0, 2)))


def test_walk_restores_coverage_where_errors_have_changed():
    found = calibrated(*made())
    past, outputs, labels = made(count=3000, seed=1)
    for factor in (0.3, 3.0):
        still, adapted = (
            walk(found, past, outputs, factor * labels, scale=1.0, rate=rate)
            for rate in (0.0, 0.05)
        )
        assert np.abs(still.coverage[0] - 0.8).min() > 0.15
        assert np.abs(adapted.coverage[0] - 0.8).max() < 0.03
        assert (adapted.factors[0] > 1).all() == (factor > 1)


def test_each_series_is_walked_by_itself():
    found = calibrated(*made())
    past, outputs, labels = made(count=90, seed=1)
    members = np.repeat([0, 1], [40, 50])
    both = walk_series(
        found, past, outputs, labels, scale=np.ones(2), members=members
    )
    one, two = (
        walk(found, past[m], outputs[m], labels[m], scale=np.ones(2))
        for m in (members == 0, members == 1)
    )
    np.testing.assert_allclose(
        both.coverage, (40 * one.coverage + 50 * two.coverage) / 90
    )
    np.testing.assert_array_equal(both.factors, two.factors)


def test_rows_that_are_not_known_yet_count_nowhere():
    found = calibrated(*made())
    past, outputs, labels = made(count=30, seed=1)
    values = np.arange(20.0)[:, None]
    ends = np.array([17, 18, 19, 20])
    assert np.isnan(outcomes(values, ends, 4)).sum(axis=(1, 2)).tolist() == [
        *(1, 2, 3, 4)
    ]
    ahead = labels.copy()
    for window in range(30):
        ahead[window, 30 - window :] = np.nan
    known = walk(found, past, outputs, labels, scale=1.0)
    cut = walk(found, past, outputs, ahead, scale=1.0)
    np.testing.assert_array_equal(cut.factors, known.factors)


def test_an_interval_holds_those_of_lower_levels():
    found = calibrated(*made())
    past, outputs, _ = made(count=200, seed=2)
    for factor in (1.1, 1.3, 1.6, 1.9):  # of the lowest level's width
        wrong = outputs + factor * found.half_widths(past)[:, 0]
        walked = walk(found, past, outputs, wrong, scale=1.0)
        assert (np.diff(walked.width, axis=0) >= 0).all()


def test_intervals_survive_their_file(tmp_path):
    found = calibrated(*made(), since="2024-03-01 00:00:00")
    file = tmp_path / "intervals.json"
    file.write_text(found.to_json())
    again = Intervals.read(file)
    np.testing.assert_allclose(again.widths, found.widths, rtol=1e-5)
    assert (again.names, again.levels, again.rows, again.since) == (
        *(("a", "b"), LEVELS, found.rows, found.since),
    )
    values = json.loads(file.read_text())
    for broken in ({**values, "levels": [80]}, {**values, "rows": None}, []):
        file.write_text(json.dumps(broken))
        with pytest.raises(UserError, match=r"intervals\.json: h"):
            Intervals.read(file)


def test_some_columns_have_the_widths_of_their_own():
    found = calibrated(*made())
    swapped = found.of(("b", "a"))
    np.testing.assert_array_equal(swapped.widths, found.widths[..., ::-1])
    np.testing.assert_array_equal(swapped.floor, found.floor[::-1])
    assert found.of(("b",)).widths.shape == (2, 4, 1)
    assert found.of(("b", "c")) is None


@pytest.mark.parametrize("levels", [[0], [100], [80, 80], [-5, 80]])
def test_levels_must_be_percentages(levels):
    recipe = small("x.csv", task={"intervals": levels})
    with pytest.raises(UserError, match=r"task\.intervals must be"):
        module.check_levels(recipe.task.sections["task"].intervals)


def small(file, **sections):
    return Recipe.parse(
        {
            "model": {
                "architecture": "bp_transformer",
                "num_layers": 0,
            },
            "data": {
                "name": "csv_series",
                "file": str(file),
                "time_column": "when",
                "lookback": 48,
                "horizon": 6,
                "validation_fraction": 0.3,
                "test_fraction": 0.3,
            },
            "training": {"epochs": 0},
            "quantization": {"epochs": 0},
            "export": {"benchmark_rounds": 1},
            **sections,
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Train on a noisy wave of an hour's step; return folder, file, console."""
    folder = tmp_path_factory.mktemp("intervals")
    rng = np.random.default_rng(0)
    rows = np.arange(900)
    values = 50 + 10 * np.sin(rows * 2 * np.pi / 24) + rng.normal(size=900)
    file = folder / "load.csv"
    start = datetime(2024, 3, 1)
    lines = [
        f"{start + timedelta(hours=int(row))},{value:.4f}"
        for row, value in zip(rows, values, strict=True)
    ]
    file.write_text("\n".join(["when,load", *lines]) + "\n")
    console = Console(file=io.StringIO(), width=200)
    training.run(small(file), folder / "run", console=console)
    return folder / "run", file, console.file.getvalue()


def forecast(words, out):
    assert main.main(["forecast", *map(str, words), "--out", str(out)]) == 0
    (file,) = out.glob("*.csv")
    with file.open() as stream:
        header, *rows = csv.reader(stream)
    return header, np.array([row[1:] for row in rows], float)


def test_run_keeps_its_intervals_and_says_what_they_cover(run):
    folder, _, said = run
    found = Intervals.read(folder / "intervals.json")
    assert (found.names, found.levels) == (("load",), LEVELS)
    assert found.widths.shape == (2, 6, 1)
    assert found.since == str(
        datetime(2024, 3, 1) + timedelta(hours=900 - round(0.3 * 900))
    )
    report = (folder / "report.html").read_text()
    for text in (said, report):
        assert "Prediction intervals on the test windows" in text
        assert "80 %, as calibrated" in text
        assert "95 %, adapted row by row" in text
        assert "Diebold-Mariano" in text


def test_forecast_has_the_ends_of_its_intervals(run, tmp_path):
    folder, file, _ = run
    header, values = forecast([folder, file], tmp_path / "out")
    assert header == [
        *("when", "load", "load_low_80", "load_high_80"),
        *("load_low_95", "load_high_95"),
    ]
    middle, low80, high80, low95, high95 = values.T
    assert (low95 < low80).all()
    assert (low80 < middle).all()
    np.testing.assert_allclose(middle - low80, high80 - middle, atol=1e-4)
    # The noise has a deviation of 1: 1.28 and 1.96, and the model's own error.
    assert 1.1 < (high80 - middle).mean() < 1.8
    assert 1.8 < (high95 - middle).mean() < 2.9
    figure = (tmp_path / "out" / "load_forecast.svg").read_text()
    assert "fill-opacity: 0.15" in figure or "opacity: 0.15" in figure


def test_forecast_adapts_to_rows_after_those_it_was_made_from(run, tmp_path):
    folder, file, _ = run
    lines = file.read_text().splitlines()
    # From the test rows on, everything is noisier.
    rng = np.random.default_rng(5)
    border = 1 + 900 - round(0.3 * 900)
    for row in range(border, len(lines)):
        time, value = lines[row].split(",")
        lines[row] = f"{time},{float(value) + 5 * rng.normal():.4f}"
    wild = tmp_path / "wild.csv"
    wild.write_text("\n".join(lines))
    late = tmp_path / "late.csv"  # too short to look back further
    late.write_text("\n".join([lines[0], *lines[-48:]]))
    widths = {}
    for source in (wild, late):
        _, values = forecast([folder, source], tmp_path / source.stem)
        widths[source] = (values[:, 2] - values[:, 1]).mean()
    assert widths[wild] > 1.2 * widths[late]


def test_other_columns_have_no_intervals(run, tmp_path, capsys):
    folder, file, _ = run
    other = tmp_path / "other.csv"
    other.write_text(file.read_text().replace("when,load", "when,heat"))
    header, _ = forecast([folder, other], tmp_path / "out")
    assert header == ["when", "heat"]
    assert "no intervals: those of the model are of" in capsys.readouterr().out


def test_intervals_of_another_model_are_refused(run, tmp_path, capsys):
    folder, file, _ = run
    other = calibrated(*made(columns=1))
    model = tmp_path / "model_int8.tflite"
    model.write_bytes((folder / model.name).read_bytes())
    (tmp_path / "intervals.json").write_text(other.to_json())
    words = ["forecast", str(model), str(file), "--time-column", "when"]
    words += ["--out", str(tmp_path / "out")]
    assert main.main(words) == 2
    assert "is of 4 rows ahead, and model_int8" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_run_without_levels_or_validation_keeps_no_intervals(run, tmp_path):
    _, file, _ = run
    for sections in (
        {"task": {"intervals": []}},
        {"data": {**small(file).data.to_dict(), "validation_fraction": 0.0}},
    ):
        task = make_task(small(file, **sections))
        assert task.calibrate(lambda x: np.zeros((len(x), 6, 1))) == {}
        outputs = np.zeros_like(task.splits.test.labels)
        assert not [x for x in task.tables(outputs) if "intervals" in x]
        assert "<svg" in next(iter(task.figures(outputs).values()))


PACKED = fresh.ROOT.parent / "shared" / "data" / "ETTh1.csv.xz"


def test_intervals_of_etth1_cover_what_they_promise(tmp_path):
    if not PACKED.is_file():
        pytest.skip(f"the data set ETTh1 is not in {PACKED.parent}")
    (tmp_path / "ETT-small").mkdir()
    unpacked = lzma.decompress(PACKED.read_bytes())
    (tmp_path / "ETT-small" / "ETTh1.csv").write_bytes(unpacked)
    entry = "bp_transformer_small.etth1_96"
    task = make_task(zoo.find(entry).recipe, tmp_path)
    runner = export.Runner(zoo.file(entry))
    task.calibrate(runner.predict)
    test = task.splits.test
    outputs = runner.predict(task.inputs("test"))
    for rate in (0.0, module.RATE):
        found = walk(
            task.intervals,
            test.past,
            outputs,
            test.labels,
            scale=np.ones(7),
            rate=rate,
        )
        gaps = 100 * found.coverage.mean(axis=1) - LEVELS
        assert np.abs(gaps).max() < 3
