"""Runs for tables in CSV files, and predictions of what they made."""

import argparse
import csv
import io
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.datasets import load_diabetes
from threadpoolctl import threadpool_info

from kbp import __main__ as main
from kbp import export, training
from kbp.data.table import Column, TableColumns
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import make_task
from kbp.tasks.predict_classes import probabilities
from kbp.tasks.prediction import OpenModel
from kbp.tasks.tables import baselines
from kbp.tasks.tables.predict_table import TablePrediction
from kbp.training import checkpoint

ROWS = 600


def frame(rows, seed):
    """Return a table whose classes depend on columns of all units."""
    rng = np.random.default_rng(seed)
    mass, count = rng.normal(3e-6, 1e-6, rows), rng.normal(4e6, 1e6, rows)
    city = rng.choice(["Bonn", "Kiel", "Ulm"], rows)
    wet = rng.choice(["yes", "no"], rows)
    score = (mass - 3e-6) / 1e-6 + (count - 4e6) / 1e6
    score += 2.0 * (city == "Ulm") - 2.0 * (wet == "yes")
    return pd.DataFrame(
        {
            "mass": mass,
            "city": city,
            "count": count,
            "wet": wet,
            "kind": np.array(["low", "middle", "high"])[
                np.digitize(score, [-1.5, 1.0])
            ],
            "yield": 1e5 * score + 3e6,
        }
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "plants.csv"
    frame(ROWS, 0).to_csv(file, index=False)
    return file


def recipe(file, task, **sections):
    regression = task == "tabular_regression"
    target, other = ("kind", "yield")[:: -1 if regression else 1]
    own = {
        "name": "csv_table",
        "file": str(file),
        "target": target,
        "ignore": [other],
    }
    return Recipe.parse(
        {
            "model": {"architecture": "residual_mlp", "width": 16},
            "data": own | sections.pop("data", {}),
            "task": {"name": task},
            "optimizer": {"learning_rate": 5e-3},
            "training": {"epochs": 15, "batch_size": 16},
            "quantization": {"epochs": 1},
            "export": {"benchmark_rounds": 1},
            **sections,
        }
    )


def run(recipe, folder):
    console = Console(file=io.StringIO(), width=120)
    stages = training.run(recipe, folder, console=console)
    return folder, stages, console.file.getvalue()


@pytest.fixture(scope="module")
def classes(file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "classes"
    return run(recipe(file, "tabular_classification"), folder)


@pytest.fixture(scope="module")
def numbers(file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "numbers"
    return run(recipe(file, "tabular_regression"), folder)


def test_csv_tables_hold_classes_by_default(file):
    data = {"name": "csv_table", "file": str(file), "target": "kind"}
    assert Recipe.parse({"data": data}).task.name == "tabular_classification"


@pytest.mark.long
def test_classes_are_learned_and_shipped(classes):
    folder, stages, said = classes
    assert stages[0].score > 0.85
    report = (folder / "report.html").read_text()
    for words in (
        "<th>accuracy</th>",
        "Confusion matrix of the int8 file",
        "Baselines on the same 120 test rows",
        "<td>gradient-boosted trees</td>",
        "<td>this network</td>",
        "<td>mean recall of the classes</td>",
    ):
        assert words in report
    assert "logistic regression" in said
    assert "The network is" in said
    # Fitting them takes a while, which is said before and after.
    said = " ".join(said.split())
    assert said.index("Fitting a simple, a linear") < said.index("regression")
    assert re.search(r"The baselines took \d+\.\d s\.", said)


def test_columns_that_are_used_are_said_at_the_start_and_in_the_report(classes):
    folder, _, said = classes
    said = " ".join(said.split())
    line = (
        "Numbers: mass, count. Categories, and how many: city (3), wet (2). "
        "Left out: yield."
    )
    begin, end = said.index(line), said.rindex(line)
    assert begin < said.index("Everything is in")
    assert begin < end
    assert line in (folder / "report.html").read_text()
    assert "float, on purpose (at outputs, table_encoding);" in said


def test_work_of_the_baselines_is_bounded(file, monkeypatch):
    splits = make_task(recipe(file, "tabular_classification")).splits
    everything = baselines.fit(splits)
    assert everything.rows == len(splits.train) == 390
    for name, value in (
        ("MOST_VALUES", 100),
        ("_LEAST_ROWS", 50),
        ("MOST_TREES", 3),
        ("_LEAST_ROUNDS", 2),
    ):
        monkeypatch.setattr(baselines, name, value)
    methods = baselines._methods(splits)
    assert methods[baselines.TREES].max_iter == 2
    few = baselines.fit(splits)
    assert few.rows == 50
    assert "on 50 of 390 rows" in few.said(390)
    first = few.predictions["most frequent class"]
    counts = np.bincount(splits.train.labels[:50])
    assert {*first.tolist()} == {int(counts.argmax())}


def test_baselines_run_on_one_thread(file, monkeypatch):
    """On a busy machine threads that wait for each other take half a minute."""
    splits = make_task(recipe(file, "tabular_classification")).splits
    seen = []

    class Method:
        def fit(self, inputs, labels):
            pools = threadpool_info()
            seen.append(max(pool["num_threads"] for pool in pools))

        def predict(self, inputs):
            return np.zeros(len(inputs))

    monkeypatch.setattr(baselines, "_methods", lambda splits: {"a": Method()})
    baselines.fit(splits)
    assert seen == [1]


@pytest.mark.slow
def test_numbers_are_learned_and_shipped_in_their_units(numbers):
    folder, stages, said = numbers
    deviation = frame(ROWS, 0)["yield"].std()
    assert stages[0].score < 0.15 * deviation
    report = (folder / "report.html").read_text()
    for words in ("<th>RMSE</th>", "<td>R2</td>", "against the true numbers"):
        assert words in report
    assert "ridge regression" in said
    row = (folder / "metrics.csv").read_text().splitlines()[-1]
    assert max(map(float, row.split(",")[3:])) > 1000  # RMSE in units


@pytest.mark.parametrize(
    "kind", ["classes", pytest.param("numbers", marks=pytest.mark.slow)]
)
def test_file_of_integers_is_as_good_on_new_rows(kind, file, request):
    folder, _, _ = request.getfixturevalue(kind)
    columns = json.loads((folder / "columns.json").read_text())
    new = frame(4000, 1)
    rows = np.stack(
        [
            new[column["name"]].map(column["categories"])
            if "categories" in column
            else new[column["name"]]
            for column in columns["columns"]
        ],
        axis=1,
    ).astype("float32")
    model = checkpoint.load(folder / "model.keras")
    found = model.predict(rows, verbose=0)
    raw = export.Runner(folder / "model_int8.tflite").predict(rows)
    if kind == "classes":
        names = np.array(columns["target"]["classes"])
        right = [
            np.mean(names[x.argmax(axis=-1)] == new["kind"].to_numpy())
            for x in (found, raw)
        ]
        assert right[1] > right[0] - 0.005
    else:
        # With noise that leaves an R2 of 0.96, above which 8 bits show.
        true = new["yield"].to_numpy()
        true = true + np.random.default_rng(0).normal(0, 0.2 * true.std(), 4000)
        errors = [np.sqrt(np.mean((x[:, 0] - true) ** 2)) for x in (found, raw)]
        assert errors[1] < 1.01 * errors[0]


@pytest.mark.parametrize("name", ["", "model.keras"])
def test_predictions_are_the_files_rows_and_classes(
    name, classes, tmp_path, capsys
):
    folder, _, _ = classes
    new = frame(300, 2)[["count", "wet", "mass", "city", "kind"]]
    new.loc[0, "city"] = "Rome"
    new.loc[1, "wet"] = ""
    if name == "model.keras":
        new.loc[[2, 3], "city"] = ""
    new["=note"] = "=1+1"
    new["predicted"] = "before"  # as of an earlier model
    new.to_csv(tmp_path / "new.csv", index=False)
    words = ["predict", str(folder / name), str(tmp_path / "new.csv")]
    assert main.main([*words, "--out", str(tmp_path / "out")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 of 300 rows have an unknown category in column 'city'" in said
    absent = "2 of 300 rows have no category in column 'city'."
    assert (absent in said) == (name == "model.keras")
    found = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert [*found.columns] == [
        *new.columns[:-2],
        "'=note",
        "predicted",
        "predicted_2",
        "probability",
    ]
    assert {*found.pop("predicted")} == {"before"}
    found = found.rename(columns={"predicted_2": "predicted"})
    assert set(found["'=note"]) == {"'=1+1"}
    np.testing.assert_allclose(found["count"], new["count"])
    assert np.mean(found.predicted == new.kind) > 0.85
    assert found.probability.between(1 / 3, 1).all()
    # Nothing is written over.
    assert main.main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "exists" in capsys.readouterr().err


def test_other_units_are_warned_of(classes, tmp_path, capsys):
    new = frame(50, 3)
    for unit, count in ((1, 0), (1e3, 1)):
        out = tmp_path / str(unit)
        table = new.assign(mass=new.mass * unit)
        table.to_csv(tmp_path / "new.csv", index=False)
        words = ["predict", str(classes[0]), str(tmp_path / "new.csv")]
        assert main.main([*words, "--out", str(out)]) == 0
        said = capsys.readouterr().out
        assert said.count("Warning: column 'mass' has values around") == count
        assert said.count("Warning") == count


@pytest.mark.long
def test_numbers_are_predicted_as_the_file_writes_them(numbers, tmp_path):
    folder, _, _ = numbers
    new = frame(100, 2).assign(Straße="Bäckergasse")
    form = {"sep": ";", "decimal": ",", "encoding": "cp1252"}
    new.to_csv(tmp_path / "new.csv", index=False, **form)
    words = ["predict", str(folder), str(tmp_path / "new.csv"), "--decimal"]
    words += [",", "--encoding", "cp1252"]
    assert main.main([*words, "--out", str(tmp_path / "out")]) == 0
    written = tmp_path / "out" / "predictions.csv"
    found = pd.read_csv(written, **form)
    assert set(found["Straße"]) == {"Bäckergasse"}
    gap = np.abs(found.predicted - new["yield"]).mean()
    assert gap < 0.15 * new["yield"].std()


def test_a_file_alone_predicts_as_its_run(classes, tmp_path):
    folder, _, _ = classes
    frame(20, 2).to_csv(tmp_path / "new.csv", index=False)
    (tmp_path / "alone").mkdir()
    alone = shutil.copy(folder / "model_int8.tflite", tmp_path / "alone")
    found = []
    for model in (folder, alone):
        out = tmp_path / f"out{len(found)}"
        words = ["predict", model, tmp_path / "new.csv", "--out", out]
        assert main.main([*map(str, words)]) == 0
        found.append({x.name: x.read_bytes() for x in out.iterdir()})
    assert found[0] == found[1]


def test_wrong_files_are_refused_before_anything_is_written(
    classes, tmp_path, capsys
):
    folder, _, _ = classes
    new = frame(20, 2)
    alone = tmp_path / "alone.keras"
    alone.write_bytes((folder / "model.keras").read_bytes())
    out = tmp_path / "out"
    for table, model, message in (
        (new.drop(columns=["mass", "city"]), folder, "column 'city', 'mass'"),
        (new.assign(mass="light"), folder, "line 2: 'light' in column 'mass'"),
        (new.assign(mass=np.nan), folder, "line 2: has no number in column"),
        (new.assign(mass=[1e39] * 20), folder, "line 2: 1e+39 in column 'mas"),
        (new, alone, "columns.json: no such file"),
    ):
        table.to_csv(tmp_path / "new.csv", index=False)
        words = ["predict", str(model), str(tmp_path / "new.csv")]
        assert main.main([*words, "--out", str(out)]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.strip().count("\n") == 0
    (tmp_path / "columns.json").write_text("{}")
    assert main.main(["predict", str(alone), "x", "--out", str(out)]) == 2
    assert "does not say what columns" in capsys.readouterr().err
    assert not out.exists()


def test_evaluate_shows_the_baselines(classes, capsys):
    folder, stages, _ = classes
    assert main.main(["evaluate", str(folder / "model_int8.tflite")]) == 0
    said = capsys.readouterr().out
    assert f"{stages[-1].score:.2%}" in said
    begin = said.index("Fitting a simple, a linear and a tree method")
    assert begin < said.index("most frequent class")


def test_baselines_are_fitted_once(file, monkeypatch):
    task = make_task(recipe(file, "tabular_regression"))
    fitted = []
    fit = baselines.fit
    monkeypatch.setattr(
        baselines, "fit", lambda splits: fitted.append(1) or fit(splits)
    )
    outputs = np.full((120, 1), task.splits.columns.target.mean)
    tables = [task.tables(outputs) for _ in range(2)]
    assert tables[0] == tables[1]
    assert len(fitted) == 1
    ((heading, table),) = tables[0].items()
    assert heading == "Baselines on the same 120 test rows"
    rows = {row[0]: row[1:] for row in table.rows}
    # A constant is what the simplest one predicts.
    assert rows["mean"] == rows["this network"]
    assert float(rows["ridge regression"][0]) < float(rows["mean"][0]) / 2
    assert "ahead of the network" in table.remark
    assert "no better than the mean" in table.remark


@pytest.mark.parametrize(
    ("shift", "share", "words"),
    [
        (0.4, 0.4, "Trees is ahead of the network by 9 points."),
        (
            *(-0.4, 0.4),
            "The network is ahead of the best baseline, trees, by 9 points",
        ),
        (
            *(0.01, 0.01),
            "The network is as good as the best baseline, trees, as far",
        ),
        (
            *(0.01, 0.09),
            "The network and the best baseline, trees, are 9 points apart, but "
            "cannot be told apart by rows.",
        ),
    ],
)
def test_remark_says_who_is_ahead(shift, share, words):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=400)
    noise -= noise.mean()
    gains = {"mean": noise - 1, "trees": noise + shift}
    said = baselines.remark(
        gains,
        dict.fromkeys(gains, "9 points"),
        dict.fromkeys(gains, share),
        "rows",
    )
    assert words in said
    assert "no better than" not in said


def test_units_of_the_target_change_nothing_but_the_units(file, tmp_path):
    table = pd.read_csv(file)
    found = []
    for unit in (1e-6, 1e6):
        table.assign(**{"yield": table["yield"] * unit}).to_csv(
            tmp_path / "table.csv", index=False
        )
        task = make_task(recipe(tmp_path / "table.csv", "tabular_regression"))
        model = task.build()
        model.set_weights(
            [
                np.full(w.shape, 0.01) if w.trainable else w.numpy()
                for w in model.weights
            ]
        )
        model.compile("sgd", task.loss)
        inputs, labels = next(iter(task.training_batches(seed=0)))
        found.append(model.train_on_batch(inputs, labels))
        gradients = [w.numpy() for w in model.trainable_weights]
        found.append(gradients[0].sum())
    assert found[0] == pytest.approx(found[2], rel=1e-3)
    assert found[1] == pytest.approx(found[3], rel=1e-3)


@pytest.mark.parametrize(
    ("task", "data", "message"),
    [
        (
            "tabular_classification",
            {"target": "yield", "ignore": []},
            "'yield' holds many different numbers.*tabular_regression",
        ),
        (
            "tabular_regression",
            {"target": "kind", "ignore": []},
            "'kind' holds words, such as .*tabular_classification",
        ),
    ],
)
def test_target_of_the_other_kind_is_named(task, data, message, file):
    with pytest.raises(UserError, match=message):
        make_task(recipe(file, task, data=data))


def test_rare_class_is_named(file, tmp_path):
    table = pd.read_csv(file)

    def made(place):
        """Make the class of one row another, which nothing else has."""
        kind = table.kind.where(table.index != place, "odd")
        rare = tmp_path / f"{place}.csv"
        table.assign(kind=kind).to_csv(rare, index=False)
        return make_task(recipe(rare, "tabular_classification"))

    # Numbers and rare classes are split alike, by the rows' places alone.
    splits = make_task(recipe(file, "tabular_regression")).splits
    mass = table.mass.astype("float32")
    train = np.isin(mass, splits.train.inputs[:, 0])
    assert "odd" in made(int(np.argmax(train))).splits.class_names
    message = "class 'odd' of 'kind' is in no training row"
    with pytest.raises(UserError, match=message):
        made(int(np.argmin(train)))


def test_other_architectures_and_data_are_named(file):
    sections = recipe(file, "tabular_classification").to_dict()
    for model, message in (
        ({"architecture": "pyramid_bpnet"}, r"vector of 7 .*residual_mlp"),
        ({"architecture": "residual_mlp", "width": 0}, "`width` must be"),
    ):
        task = make_task(Recipe.parse({**sections, "model": model}))
        with pytest.raises(UserError, match=message):
            task.build()
    digits = Recipe.parse({"task": {"name": "tabular_regression"}})
    with pytest.raises(UserError, match=r"does not fit data\.name 'digits'"):
        make_task(digits)


@pytest.mark.slow
@pytest.mark.parametrize("granularity", ["element", "channel"])
def test_pruned_table_networks_are_shipped(granularity, file, tmp_path):
    sparsity = {"target": 0.5, "granularity": granularity}
    small = recipe(file, "tabular_regression", sparsity=sparsity)
    _, stages, _ = run(small, tmp_path / "run")
    trained, pruned, *_ = stages
    if granularity == "channel":
        assert pruned.parameters < 0.9 * trained.parameters
    else:
        assert pruned.nonzero < 0.8 * trained.nonzero
    assert stages[-1].score < 0.5 * frame(ROWS, 0)["yield"].std()


@pytest.mark.slow
def test_diabetes_study_is_shipped_within_a_hundredth(tmp_path):
    data = load_diabetes(scaled=False)
    with (tmp_path / "diabetes.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*data.feature_names, "progression"])
        pairs = zip(data.data, data.target, strict=True)
        writer.writerows([*x, y] for x, y in pairs)
    study = Recipe.parse(
        {
            "model": {
                "architecture": "residual_mlp",
                "width": 32,
                "dropout": 0.2,
            },
            "data": {
                "name": "csv_table",
                "file": str(tmp_path / "diabetes.csv"),
                "target": "progression",
            },
            "task": {"name": "tabular_regression"},
            "training": {"epochs": 40, "batch_size": 32, "keep_best": True},
            "export": {"benchmark_rounds": 1},
        }
    )
    _, stages, _ = run(study, tmp_path / "run")
    assert stages[0].score < 63  # the mean gives 71, ridge regression 58
    assert stages[-1].score == pytest.approx(stages[0].score, rel=0.01)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.assign(kind="z" + table.kind),
        lambda table: table[[*reversed(table.columns)]],
    ],
    ids=["classes", "columns"],
)
def test_a_file_that_has_changed_is_not_scored(
    change, classes, file, tmp_path, capsys
):
    changed = tmp_path / "changed.csv"
    change(pd.read_csv(file)).to_csv(changed, index=False)
    other = tmp_path / "other.toml"
    other.write_text(recipe(changed, "tabular_classification").to_toml())
    model = str(classes[0] / "model_int8.tflite")
    assert main.main(["evaluate", model, "--recipe", str(other)]) == 2
    assert "columns.json: is of other classes" in capsys.readouterr().err


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_predictions_have_the_separator_of_the_file(
    separator, given, decimal, tmp_path
):
    columns = TableColumns((Column("size"),), Column("weight"))
    (tmp_path / "columns.json").write_text(columns.to_json())
    number = f'"0{decimal}5"' if decimal == separator else f"0{decimal}5"
    lines = [["size", "name"], [number, "a"], [number, "b"]]
    text = "".join(f"{separator.join(line)}\n" for line in lines)
    (tmp_path / "rows.csv").write_text(text)
    model = OpenModel(tmp_path / "model.keras", lambda x: 3 * x, (1,), (1,))
    options = {"separator": separator if given else None, "encoding": None}
    TablePrediction.run(
        model,
        None,
        argparse.Namespace(
            table=tmp_path / "rows.csv",
            out=tmp_path / "out",
            decimal=decimal,
            **options,
        ),
        Console(file=io.StringIO()),
    )
    found = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert found[0] == separator.join(["size", "name", "predicted"])
    read = pd.read_csv(
        tmp_path / "out" / "predictions.csv", sep=separator, decimal=decimal
    )
    assert read["predicted"].tolist() == [1.5, 1.5]


@pytest.mark.parametrize("combine", ["mean", "vote"])
def test_votes_of_an_ensemble_are_its_probabilities(combine, tmp_path):
    columns = TableColumns((Column("size"),), Column("kind", ("a", "b")))
    (tmp_path / "columns.json").write_text(columns.to_json())
    (tmp_path / "rows.csv").write_text("size\n1\n2\n")
    outputs = np.array([[1.0, 0.0], [0.4, 0.6]], "float32")
    model = OpenModel(
        tmp_path / "model.keras", lambda x: outputs[: len(x)], (1,), (2,)
    )
    made = Recipe.parse(
        {
            "model": {"architecture": "residual_mlp"},
            "data": {"name": "csv_table", "file": "x.csv", "target": "kind"},
            "ensemble": {"members": 5, "combine": combine},
            "quantization": {"enabled": False},
        }
    )
    options = dict.fromkeys(("separator", "decimal", "encoding"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenModel, "members", lambda *_: None)
        TablePrediction.run(
            model,
            made,
            argparse.Namespace(
                table=tmp_path / "rows.csv", out=tmp_path / "out", **options
            ),
            Console(file=io.StringIO()),
        )
    found = pd.read_csv(tmp_path / "out" / "predictions.csv")
    expected = probabilities(outputs, made).max(axis=-1)
    np.testing.assert_allclose(found["probability"], expected, atol=1e-4)
    assert (found["probability"][0] == 1) == (combine == "vote")


def test_images_are_not_looked_for_in_a_table(file):
    with pytest.raises(UserError, match=r"'classification' does not fit .* no"):
        make_task(recipe(file, "classification"))
