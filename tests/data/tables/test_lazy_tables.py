"""Tables that are not in memory: the numbers of those that are, to the bit."""

import os

import numpy as np
import pandas as pd
import pytest

from kbp import data
from kbp.data import cache, lazy
from kbp.data.checks.leaks import shared_examples
from kbp.data.formats import csv_table
from kbp.data.splitting import SPLITS
from kbp.data.tables import source
from kbp.data.tables.rows import opened
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import make_task

LAZY = ("none", "disk")
ROWS = 230


def table():
    rng = np.random.default_rng(0)
    count = rng.integers(10**6, 10**7, ROWS).astype("float64")
    count[150:155] = np.nan  # the first group has none
    words = np.array(["Bonn", "a, b", 'say "x"', "two\nlines", "Kiel"])
    return pd.DataFrame(
        {
            "mass": rng.normal(2e-6, 5e-7, ROWS),
            "city": rng.choice(words, ROWS),
            "count": count,
            "small": rng.integers(0, 9, ROWS),
            "patient": [f"p{i // 3}" for i in range(ROWS)],
            "kind": np.where(np.arange(ROWS) % 4 == 0, "rare", "usual"),
        }
    )


def written(folder, form):
    frame = table()
    if form.startswith("parquet"):
        file = folder / "table.parquet"
        if form == "parquet with an index":
            frame = frame.set_index("mass")
        frame["count"] = frame["count"].astype("Int64")
        frame.to_parquet(file, row_group_size=70)
        return file
    file = folder / "table.csv"
    text = frame.to_csv(index=False, sep=";" if form == "sep" else ",")
    lines = {"sep": "sep=;\n", "blank lines": ""}.get(form, "")
    if form == "blank lines":
        text = text.replace("usual\n", "usual\n\n", 40) + "\n,,,,,\n\n"
    content = (lines + text).encode("utf-8-sig" if form == "mark" else "utf-8")
    if form == "old lines":
        content = content.replace(b"two\nlines", b"two").replace(b"\n", b"\r\n")
    file.write_bytes(content)
    return file


FORMS = (
    *("csv", "sep", "mark", "blank lines", "old lines"),
    *("parquet", "parquet with an index"),
)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(lazy, "_CHUNK_BYTES", 17 * 16)


def load(file, mode, **keys):
    keys = {"target": "kind", "missing": "mean", "cache": mode} | keys
    return csv_table.load(csv_table.CsvTableConfig(str(file), **keys), None)


def check_same(found, right):
    for split in SPLITS:
        one, other = getattr(found, split), getattr(right, split)
        assert isinstance(one.inputs, lazy.Lazy)
        np.testing.assert_array_equal(one.inputs[:], other.inputs)
        np.testing.assert_array_equal(one.labels, other.labels)
    for name in ("columns", "class_names", "filled", "left_out", "warnings"):
        assert getattr(found, name) == getattr(right, name)


@pytest.mark.long
@pytest.mark.parametrize("few", [1, 10**9], ids=["by column", "at once"])
@pytest.mark.parametrize("mode", LAZY)
@pytest.mark.parametrize("form", FORMS)
def test_rows_are_those_of_memory(tmp_path, monkeypatch, form, mode, few):
    pytest.importorskip("pyarrow") if "parquet" in form else None
    monkeypatch.setattr(source, "memory", lambda: few * 1000)
    file = written(tmp_path, form)
    for keys in (
        {"ignore": ("patient",)},
        {"columns": ("mass", "city"), "group_column": "patient"},
        {"ignore": ("patient",), "categorical": ("small", "city")},
        {"ignore": ("patient",), "missing_values": ("3", "Bonn")},
        {"ignore": ("patient", "kind"), "target": "mass"},
    ):
        check_same(load(file, mode, **keys), load(file, "memory", **keys))


@pytest.mark.parametrize("mode", LAZY)
def test_batches_are_those_of_memory(tmp_path, mode):
    file = written(tmp_path, "csv")
    found, right = (
        [
            [x.numpy().tolist() for x in batch]
            for batch in data.training_batches(
                load(file, each, ignore=("patient",)).train, 16, seed=1
            ).take(12)
        ]
        for each in (mode, "memory")
    )
    assert found == right


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_rows_are_read_in_any_order(tmp_path, form):
    pytest.importorskip("pyarrow") if form == "parquet" else None
    held = opened(written(tmp_path, form), "", "utf-8")
    for indices in ([], [5], [229, 0, 71, 0, 140]):
        frame = held.rows(np.array(indices, int))
        mass = table()["mass"].iloc[indices]
        assert frame["mass"].astype(float).tolist() == mass.tolist()
        if form == "parquet":
            assert frame.index.tolist() == [i + 1 for i in indices]


@pytest.mark.parametrize("mode", LAZY)
@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("a,b,kind\n1,2,x\n3,y\n", {}),
        ('a,b,kind\n1,2,x\n3,"y,y\n', {}),
        ("a,a,kind\n1,2,x\n3,4,y\n", {}),
        ("a,b,kind\n", {}),
        ("", {}),
        ("a,b,kind\n1,2,x\n3,z,y\n4,5,x\n1,2,y\n" * 9, {}),
        ("a,b,kind\n" + "1,2,x\n3,4,y\n,5,x\n1,2,y\n" * 9, {}),
        ("a,b,kind\n1,2,x\n3,4,y\n", {"target": "c"}),
        ("a,b,kind\n1,2,x\n3,4,y\0\n", {}),
        ("a,b,kind\n1,2,x\n3,4,y\n", {"encoding": "utf-7x"}),
    ],
)
def test_wrong_files_get_the_line_that_they_get_in_memory(
    tmp_path, mode, text, keys
):
    file = tmp_path / "table.csv"
    file.write_text(text)
    said = []
    for each in ("memory", mode):
        with pytest.raises(UserError, match=r"table\.csv|encoding") as caught:
            load(file, each, missing="refuse", **keys)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "\n" not in said[0]


@pytest.mark.parametrize(
    ("end", "encoding", "said"),
    [
        (
            "\r",
            "utf-8",
            'end in a carriage return alone, data.cache must be "m',
        ),
        ("\n", "iso2022_jp", "in the encoding iso2022_jp, data.cache must be"),
    ],
)
def test_what_has_no_places_of_rows_is_named(end, encoding, said, tmp_path):
    lines = ["a,kind", *("1,x\u3042", "2,y") * 400]
    file = tmp_path / "table.csv"
    file.write_bytes(end.join([*lines, ""]).encode(encoding))
    load(file, "memory", encoding=encoding)
    for mode in ("disk", "none"):
        with pytest.raises(UserError, match=said):
            load(file, mode, encoding=encoding)


@pytest.mark.parametrize("name", ["kind", "mass"])
def test_tasks_are_those_of_tables_in_memory(tmp_path, name):
    kind = "classification" if name == "kind" else "regression"
    section = {
        "name": "csv_table",
        "file": str(written(tmp_path, "csv")),
        "target": name,
        "missing": "mean",
        "ignore": ["patient"],
    }
    tasks = [
        make_task(
            Recipe.parse(
                {
                    "model": {"architecture": "residual_mlp"},
                    "task": {"name": f"tabular_{kind}"},
                    "data": section | {"cache": mode},
                }
            )
        )
        for mode in ("disk", "memory")
    ]
    encodings = [
        task.build().get_layer("table_encoding").get_weights() for task in tasks
    ]
    for one, other in zip(*encodings, strict=True):
        np.testing.assert_array_equal(one, other)
    found, right = (task.baselines.predictions for task in tasks)
    for method, values in right.items():
        np.testing.assert_array_equal(found[method], values)
    assert tasks[0].warnings() == tasks[1].warnings()
    said, plain = (task.describe().splitlines() for task in tasks)
    assert said[:-1] == plain
    assert "on the disk" in said[-1]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_file_that_changes_while_it_is_read_is_named(tmp_path, form):
    pytest.importorskip("pyarrow") if form == "parquet" else None
    file = written(tmp_path, form)
    inputs = load(file, "none", ignore=("patient",)).train.inputs
    os.utime(file, (1, 1))
    with pytest.raises(UserError, match=f"{file}: has changed since"):
        inputs[:3]


def test_rows_are_kept_until_the_file_changes(tmp_path):
    file = written(tmp_path, "csv")
    keys = {"ignore": ("patient",)}
    first = load(file, "disk", **keys)
    assert "on the disk" in first.kept
    assert first.remarks == ()
    assert shared_examples({s: getattr(first, s).inputs for s in SPLITS}) == []
    os.utime(file, (1, 1))
    (remark,) = load(file, "disk", **keys).remarks
    assert remark == f"{file}: has changed since it was last read."
    assert len([x for x in cache.root().iterdir() if x.is_dir()]) == 1
