"""Runs for series in a CSV file, and forecasting with what they made."""

import csv
import io
from datetime import datetime, timedelta

import numpy as np
import pytest
from rich.console import Console

from kbp import __main__ as main
from kbp import training
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import make_task
from kbp.training import callbacks, checkpoint

ROWS = 600


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Two noisy waves, of very different units."""
    rng = np.random.default_rng(0)
    rows = np.arange(ROWS)
    first = np.sin(rows / 4) + 0.1 * rng.normal(size=ROWS)
    second = 5000 + 300 * np.sin(rows / 7) + 20 * rng.normal(size=ROWS)
    file = tmp_path_factory.mktemp("data") / "waves.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["when", "small", "note", "large"])
        start = datetime(2024, 3, 1)
        for row in rows:
            time = start + timedelta(minutes=10 * int(row))
            writer.writerow([time, first[row], "-", second[row]])
    return file


def recipe(file, **sections):
    own = {
        "name": "csv_series",
        "file": str(file),
        "time_column": "when",
        "target": ["small", "large"],
        "lookback": 48,
        "horizon": 12,
    }
    model = {
        "architecture": "bp_transformer",
        "num_layers": 1,
        "width": 16,
        "num_heads": 2,
        "patch_size": 8,
    }
    return Recipe.parse(
        {
            "model": model | sections.pop("model", {}),
            "data": own | sections.pop("data", {}),
            "training": {"epochs": 2, "batch_size": 16},
            "quantization": {"epochs": 1, "float_attention": True},
            "export": {"benchmark_rounds": 1},
            **sections,
        }
    )


@pytest.fixture(scope="module")
def finished(file, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "run"
    console = Console(file=io.StringIO(), width=120)
    return workdir, training.run(recipe(file), workdir, console=console)


@pytest.mark.long
def test_series_are_learned_and_shipped(finished, capsys):
    workdir, stages = finished
    # Noise of 0.1 and 20 on waves of 0.71 and 212, standardized: 0.02, 0.01.
    assert stages[0].score < 0.04
    assert stages[-1].score < 1.2 * stages[0].score
    report = (workdir / "report.html").read_text()
    assert "<th>MSE</th>" in report
    assert "Forecasts of the int8 file" in report
    assert "1 LSB" in report
    assert "<td>MAE</td>" in report
    assert main.main(["evaluate", str(workdir)]) == 0
    out = capsys.readouterr().out
    for stage in stages[1:]:
        assert f"{stage.score:.4f}" in out


@pytest.mark.long
@pytest.mark.parametrize("name", ["", "model.keras"])
def test_forecast_continues_the_file_in_its_units(
    name, finished, file, tmp_path, capsys
):
    workdir, _ = finished
    model, out = str(workdir / name), tmp_path / "out"
    command = ["forecast", model, str(file), "--out", str(out)]
    assert main.main(command) == 0
    with (out / "waves_forecast.csv").open() as stream:
        header, *rows = csv.reader(stream)
    # Behind each column are the ends of two intervals.
    assert header[:2] == ["when", "small"]
    assert header[6] == "large"
    assert rows[0][0] == str(
        datetime(2024, 3, 1) + timedelta(minutes=10 * ROWS)
    )
    steps = ROWS + np.arange(12)
    values = np.array([row[1::5] for row in rows], float)
    assert np.abs(values[:, 0] - np.sin(steps / 4)).mean() < 0.2
    assert np.abs(values[:, 1] - 5000 - 300 * np.sin(steps / 7)).mean() < 60
    assert "<svg" in (out / "waves_forecast.svg").read_text()
    # Nothing is written over.
    assert main.main(command) == 2
    assert "exists" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize(
    "names", [(), ("small",), ("large", "small", "large2")]
)
def test_any_number_of_columns_is_forecast(names, finished, file, tmp_path):
    other = tmp_path / "waves.csv"
    header, *rows = file.read_text().splitlines()
    rows = [f"{row},{2 * float(row.split(',')[-1])}" for row in rows]
    other.write_text("\n".join([f"{header},large2", *rows]))
    outputs = {}
    for name, source in (("some", other), ("both", file)):
        words = ["forecast", str(finished[0]), str(source), "--out"]
        words.append(str(tmp_path / name))
        if name == "some" and names:
            words += ["--target", *names]
        assert main.main(words) == 0
        with (tmp_path / name / "waves_forecast.csv").open() as stream:
            outputs[name] = list(csv.DictReader(stream))
    for row, both in zip(outputs["some"], outputs["both"], strict=True):
        assert [x for x in row if "_" not in x] == [
            "when",
            *(names or ("small", "large")),
        ]
        for name in names:
            unit = 2 if name == "large2" else 1
            expected = unit * float(both[name.rstrip("2")])
            assert float(row[name]) == pytest.approx(expected, rel=1e-3)


def test_predict_forecasts_where_the_model_does(finished, file, tmp_path):
    written = []
    for command in ("predict", "forecast"):
        out = tmp_path / command
        words = [command, str(finished[0]), str(file), "--out", str(out)]
        assert main.main(words) == 0
        written.append((out / "waves_forecast.csv").read_text())
    assert written[0] == written[1]


def test_shorter_file_and_other_columns_are_refused(
    finished, file, tmp_path, capsys
):
    workdir, _ = finished
    short = tmp_path / "short.csv"
    short.write_text("\n".join(file.read_text().splitlines()[:30]))
    model = str(workdir / "model_int8.tflite")
    out = ["--out", str(tmp_path / "out")]
    for words, message in (
        ([str(short), *out], "has 29 rows"),
        ([str(file), "--calendar", "hour", *out], "recipe, none; leave it"),
        ([str(file), "--target", "note", *out], "'note' holds no values"),
        ([str(file), "--time-column", "then", *out], "no column 'then'"),
        ([str(tmp_path / "no.csv"), *out], "cannot be read"),
    ):
        assert main.main(["forecast", model, *words]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_run_starts_at_the_ridge_and_can_train_it(file):
    kernels = []
    for trainable in (False, True):
        task = make_task(recipe(file, linear_skip={"trainable": trainable}))
        model = task.start(task.build())
        linear_skip = model.get_layer("linear_skip")
        assert linear_skip.trainable == trainable
        kernels.append(np.array(linear_skip.kernel))
    np.testing.assert_array_equal(*kernels)
    for sections in (
        {"linear_skip": {"penalty": 0}},
        {"model": {"linear_skip": False}},
    ):
        task = make_task(recipe(file, **sections))
        before = task.build()
        after = task.start(before)
        assert after is before


@pytest.mark.parametrize("error", ["huber", "mse", "mae"])
def test_loss_is_the_recipes(error, file):
    task = make_task(recipe(file, loss={"error": error}))
    x = np.array([[[0.0, 3.0]]], "f4")
    expected = {"huber": (0 + 2.5) / 2, "mse": 4.5, "mae": 1.5}[error]
    assert float(task.loss(np.zeros_like(x), x)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {"file": ""}}, "data.file must name"),
        ({"data": {"name": "etth1"}}, r"unknown key data\.file; known: "),
        ({"data": {"target": ["large", "odd"]}}, "no column 'odd'"),
        ({"data": {"lookback": 500}}, "look-back of 500"),
        ({"data": {"split": "rows"}}, "two or three ends"),
        (
            {"data": {"rows": [300, 400]}},
            "data.rows has no effect.* is 'fractions'",
        ),
        (
            {"data": {"split": "rows", "rows": [300, 400], "dates": ["x"]}},
            "data.dates has no effect: data.split is 'rows'",
        ),
        (
            {"linear_skip": {"lookbacks": [500]}},
            "look-back of 48; received .500",
        ),
        (
            {
                "model": {"linear_skip": False},
                "linear_skip": {"trainable": True},
            },
            r"linear_skip\.trainable has no effect: model\.linear_skip is",
        ),
        ({"model": {"normalize": False}}, "model.normalize must be true"),
        ({"loss": {"dice_weight": 1.0}}, r"unknown key loss\.dice_weight"),
        ({"model": {"patch_size": 7}}, "patch_size"),
        ({"model": {"attention_lookback": 96}}, "most the window's 48"),
        ({"model": {"attention_lookback": 12}}, "sees, 12.*patch_size=8"),
        ({"training": {"batch_size": 500}}, "at most the 3"),
    ],
)
def test_recipe_that_does_not_fit_is_refused(sections, message, file):
    with pytest.raises(UserError, match=message):
        make_task(recipe(file, **sections)).build()


def test_forecasts_need_their_architecture(file):
    data = recipe(file).to_dict()["data"]
    task = make_task(Recipe.parse({"data": data}))
    with pytest.raises(UserError, match=r"`head` must.*head='forecasting'"):
        task.build()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"loss": {"error": "mae"}}, r"unknown key loss\.error"),
        ({"linear_skip": {"lookbacks": [8]}}, "is for the task forecasting"),
    ],
)
def test_classes_have_no_sections_of_forecasts(sections, message):
    with pytest.raises(UserError, match=message):
        make_task(Recipe.parse(sections))


WILD = {
    "training": {"epochs": 2, "batch_size": 16, "keep_best": True},
    "optimizer": {"learning_rate": 30.0},
}


def fitted(recipe, folder):
    """Run a recipe and return the weights of its two trained models."""
    console = Console(file=io.StringIO(), width=120)
    training.run(recipe, folder, console=console, resume=folder.exists())
    files = ("model.keras", "model_quantized.keras")
    models = [checkpoint.load(folder / file) for file in files]
    return [np.array(w) for model in models for w in model.weights]


@pytest.mark.slow
def test_best_weights_are_kept_the_starts_too(file, tmp_path):
    wild = recipe(file, **WILD)
    folder = tmp_path / "wild"
    fitted(wild, folder)
    task = make_task(wild)
    start = task.start(task.build())
    # The gate is closed at the start, and every step of such a rate is wrong.
    model = checkpoint.load(folder / "model.keras")
    assert not np.any(model.get_layer("forecast").kernel)
    windows = task.inputs("test")
    np.testing.assert_allclose(
        model.predict(windows, verbose=0),
        start.predict(windows, verbose=0),
        atol=1e-5,
    )
    rows = callbacks.read_metrics(folder / "metrics.csv")
    assert all(float(row["val_loss"]) > 0.1 for row in rows[:2])


@pytest.mark.long
@pytest.mark.parametrize(
    ("layers", "epochs"),
    [(1, 0), (0, 2)],  # nothing is to be trained, or nothing can be
)
def test_what_is_not_trained_is_what_it_starts_as(
    layers, epochs, file, tmp_path
):
    still = recipe(
        file,
        model={"num_layers": layers},
        training={"epochs": epochs, "batch_size": 16, "keep_best": True},
        quantization={"epochs": epochs},
    )
    folder = tmp_path / "run"
    weights = fitted(still, folder)
    task = make_task(still)
    windows = task.inputs("test")
    start = task.start(task.build()).predict(windows, verbose=0)
    model = checkpoint.load(folder / "model.keras")
    np.testing.assert_allclose(
        model.predict(windows, verbose=0), start, atol=1e-5
    )
    rounded = checkpoint.load(folder / "model_quantized.keras")
    gaps = (rounded.predict(windows, verbose=0) - start) / windows.std((0, 1))
    assert 0 < np.sqrt(np.mean(gaps**2)) < 0.03
    report = (folder / "report.html").read_text()
    assert "Forecasts of the int8 file" in report
    assert "Learning curves" not in report
    for old, new in zip(weights, fitted(still, folder), strict=True):
        np.testing.assert_array_equal(old, new)


def test_masks_need_epochs(file):
    with pytest.raises(UserError, match=r"training\.epochs must be at least 1"):
        recipe(file, training={"epochs": 0}, sparsity={"target": 0.5})


@pytest.mark.slow
def test_best_weights_survive_a_stop(file, tmp_path, monkeypatch):
    wild = recipe(file, **WILD)
    weights = fitted(wild, tmp_path / "undisturbed")
    stopped, calls = tmp_path / "stopped", []
    save = callbacks.Checkpoint.on_epoch_end

    def stop(self, epoch, logs=None):
        save(self, epoch, logs)
        calls.append(epoch)
        if len(calls) in (1, 3):
            raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.Checkpoint, "on_epoch_end", stop)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fitted(wild, stopped)
    for a, b in zip(fitted(wild, stopped), weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"sparsity": {"target": 0.5}}, "sparsity.target to 0"),
        ({"data": {"validation_fraction": 0}}, "needs validation"),
    ],
)
def test_best_weights_are_not_always_known(sections, message, file, tmp_path):
    keep = recipe(
        file, training={"batch_size": 16, "keep_best": True}, **sections
    )
    with pytest.raises(UserError, match=message):
        training.run(keep, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_rows_of_another_step_have_no_intervals(
    finished, file, tmp_path, capsys
):
    lines = file.read_text().splitlines()
    days = [
        f"{datetime(2024, 3, 1) + timedelta(days=i)},{line.partition(',')[2]}"
        for i, line in enumerate(lines[1:])
    ]
    daily = tmp_path / "daily.csv"
    daily.write_text("\n".join([lines[0], *days]))
    out = tmp_path / "out"
    words = ["forecast", str(finished[0]), str(daily), "--out", str(out)]
    assert main.main(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "made from rows 0:10:00 apart, and these are 1 day, 0:00:00" in said
    assert "low_80" not in (out / "daily_forecast.csv").read_text()


def test_later_rows_need_covariates(finished, file, tmp_path, capsys):
    words = ["forecast", str(finished[0]), str(file), "--future", str(file)]
    assert main.main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "later rows are for future_covariates" in capsys.readouterr().err
