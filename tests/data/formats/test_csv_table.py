"""Tables from CSV files: columns, categories, splits."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from kbp.data.formats import csv_table, frames, table_rows
from kbp.data.table import Column, TableColumns
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import make_task

ROWS = 200
RNG = np.random.default_rng(0)
CITIES = RNG.choice(["Bonn", "Kiel", "Ulm"], ROWS)


def table(**columns):
    """Return a frame of a number, a category and a class."""
    return pd.DataFrame(
        {
            "mass": RNG.normal(2e-6, 5e-7, ROWS),
            "city": CITIES,
            "count": RNG.integers(10**6, 10**7, ROWS),
            "kind": np.where(np.arange(ROWS) % 4 == 0, "rare", "usual"),
        }
        | columns
    )


def write(folder, frame, **options):
    file = folder / "table.csv"
    frame.to_csv(file, index=False, **options)
    return file


def load(file, **keys):
    keys = {"target": "kind"} | keys
    return csv_table.load(csv_table.CsvTableConfig(str(file), **keys), None)


def every_input(splits):
    parts = (splits.train, splits.validation, splits.test)
    return np.concatenate([part.inputs[:] for part in parts])


def test_rows_are_raw_numbers_and_numbers_of_categories(tmp_path):
    frame = table()
    splits = load(write(tmp_path, frame))
    assert splits.input_shape == (3,)
    assert splits.train.inputs.dtype == np.float32
    assert splits.class_names == ("rare", "usual")
    names = [column.name for column in splits.columns.features]
    assert names == ["mass", "city", "count"]
    assert splits.columns.features[1].categories == ("Bonn", "Kiel", "Ulm")
    numbers = {"Bonn": 1, "Kiel": 2, "Ulm": 3}
    expected = frame.assign(city=frame.city.map(numbers))[names]
    found = every_input(splits)
    order = np.argsort(found[:, 0])
    np.testing.assert_allclose(
        found[order], expected.sort_values("mass").to_numpy(), rtol=1e-6
    )


def test_statistics_are_of_the_training_rows_alone(tmp_path):
    splits = load(write(tmp_path, table()))
    mass, city, _ = splits.columns.features
    values = splits.train.inputs[:, 0].astype("float64")
    assert mass.mean == pytest.approx(values.mean(), rel=1e-6)
    assert mass.deviation == pytest.approx(values.std(), rel=1e-6)
    assert abs(mass.mean / every_input(splits)[:, 0].mean() - 1) > 1e-5
    assert (city.mean, city.deviation) == (0, 1)


def test_classes_have_their_shares_in_each_split(tmp_path):
    splits = load(write(tmp_path, table()))
    for rows, count in (
        (splits.train, 130),
        (splits.validation, 30),
        (splits.test, 40),
    ):
        assert len(rows) == count
        assert abs(np.mean(rows.labels == 0) - 0.25) < 1 / count


def test_split_is_that_of_its_seed(tmp_path):
    file = write(tmp_path, table())
    first, same, other = (
        load(file, split_seed=seed).test.inputs for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    assert not len(load(file, validation_fraction=0.0).validation)


def test_rows_of_a_group_stay_together(tmp_path):
    patients = [f"patient {i // 5}" for i in range(ROWS)]
    groups = np.arange(ROWS) // 5
    file = write(tmp_path, table(patient=patients, mass=groups + 1.0))
    splits = load(file, group_column="patient")
    names = [column.name for column in splits.columns.features]
    assert "patient" not in names
    parts = (splits.train, splits.validation, splits.test)
    seen = [set(part.inputs[:, 0]) for part in parts]
    assert all(seen)
    assert sum(map(len, seen)) == len(set.union(*seen)) == 40
    with pytest.raises(UserError, match=r"split_seed has no effect"):
        load(file, group_column="patient", split_seed=3)


def test_category_of_no_training_row_is_unknown(tmp_path):
    file = write(tmp_path, table())
    test_mass = set(load(file).test.inputs[:, 0])
    frame = pd.read_csv(file)
    at = frame.index[frame.mass.astype("float32").isin(test_mass)][0]
    frame.loc[at, "city"] = "Rome"
    splits = load(write(tmp_path, frame))
    assert splits.columns.features[1].categories == ("Bonn", "Kiel", "Ulm")
    assert np.sum(splits.test.inputs[:, 1] == 0) == 1
    assert np.all(splits.train.inputs[:, 1] > 0)


def test_missing_numbers_are_refused_or_become_the_mean(tmp_path):
    frame = table()
    frame.loc[3, "mass"] = np.nan
    frame.loc[[4, 5], "city"] = ""
    file = write(tmp_path, frame)
    with pytest.raises(
        UserError, match=r"line 5: has no number in column 'mass'.*1 of 200"
    ):
        load(file)
    splits = load(file, missing="mean")
    assert splits.filled == 1
    found = every_input(splits)
    mean = np.float32(splits.columns.features[0].mean)
    assert np.sum(found[:, 0] == mean) == 1
    assert np.sum(found[:, 1] == 0) == 2  # no category is an unknown one


def test_european_files_are_read_as_their_keys_say(tmp_path):
    frame = table()
    plain = load(write(tmp_path, frame))
    file = write(tmp_path, frame, sep=";", decimal=",", encoding="utf-16")
    keys = {"decimal": ",", "encoding": "utf-16"}
    found = load(file, **keys)
    np.testing.assert_array_equal(every_input(found), every_input(plain))


def test_parquet_is_a_table_too(tmp_path):
    pytest.importorskip("pyarrow")
    frame = table()
    frame.to_parquet(tmp_path / "table.parquet")
    plain = load(write(tmp_path, frame))
    found = load(tmp_path / "table.parquet")
    np.testing.assert_allclose(
        every_input(found), every_input(plain), rtol=1e-6
    )


@pytest.mark.parametrize("mode", ["memory", "disk", "none"])
@pytest.mark.parametrize("gap", [False, True])
def test_codes_are_the_same_categories_in_every_kind_of_file(
    gap, mode, tmp_path
):
    pytest.importorskip("pyarrow")
    codes = RNG.integers(1, 4, ROWS)
    frame = table(code=pd.array(codes, "Int64"), share=codes / 2)
    if gap:
        frame.loc[:2, ["code", "share"]] = None
    frame.to_csv(tmp_path / "codes.csv", index=False)
    kinds = {"int": "Int64", "float": "float64", "nullable": "Float64"}
    for name, kind in kinds.items():
        held = frame.assign(code=frame["code"].astype(kind))
        held.to_parquet(tmp_path / f"{name}.parquet")
    found = [
        load(path, categorical=("city", "code", "share"), cache=mode)
        for path in tmp_path.iterdir()
        if path.suffix in (".csv", ".parquet")
    ]
    assert len(found) == 4
    for splits in found:
        (code,) = (c for c in splits.columns.features if c.name == "code")
        assert code.categories == ("1", "2", "3")
        np.testing.assert_array_equal(
            every_input(splits)[:, 3:], every_input(found[0])[:, 3:]
        )


def test_columns_are_chosen_by_their_names(tmp_path):
    frame = table(code=RNG.integers(1, 4, ROWS), note=np.arange(ROWS))
    file = write(tmp_path, frame.rename(columns={"note": ""}))

    def features(**keys):
        return {
            column.name: column.categories
            for column in load(file, **keys).columns.features
        }

    assert list(features()) == ["mass", "city", "count", "code"]
    assert list(features(ignore=("city",))) == ["mass", "count", "code"]
    assert list(features(columns=("code", "mass"))) == ["code", "mass"]
    assert features(categorical=("city", "code"))["code"] == ("1", "2", "3")


def test_numbers_are_a_target_and_few_of_them_are_classes(tmp_path):
    many = load(write(tmp_path, table(kind=np.linspace(1e6, 3e6, ROWS))))
    assert many.class_names == ()
    assert many.train.labels.shape == (130, 1)
    assert many.train.labels.dtype == np.float32
    values = many.train.labels.astype("float64")
    target = many.columns.target
    assert target.mean == pytest.approx(values.mean(), rel=1e-6)
    assert target.deviation == pytest.approx(values.std(), rel=1e-6)
    few = load(write(tmp_path, table(kind=np.arange(ROWS) % 12 + 0.5)))
    assert few.class_names[:2] == ("0.5", "1.5")  # in their order, not as text
    assert few.class_names[-1] == "11.5"
    numbers = few.with_numbers()
    assert numbers.class_names == ()
    np.testing.assert_array_equal(
        numbers.test.labels[:, 0], few.test.labels + 0.5
    )
    known = numbers.train.labels.astype("float64")
    assert numbers.columns.target.deviation == pytest.approx(known.std())


def test_columns_are_told_to_a_models_users_and_read_again(tmp_path):
    columns = load(write(tmp_path, table())).columns
    content = json.loads(columns.to_json())
    assert content["columns"][1] == {
        "name": "city",
        "categories": {"Bonn": 1, "Kiel": 2, "Ulm": 3},
    }
    assert content["target"] == {"name": "kind", "classes": ["rare", "usual"]}
    assert TableColumns.from_json(columns.to_json()) == columns
    number = TableColumns((Column("a"),), Column("y", mean=3.0), "mean")
    assert TableColumns.from_json(number.to_json()) == number
    for text in ("", "[]", '{"columns": [], "target": 3}'):
        with pytest.raises(UserError, match="does not say what columns"):
            TableColumns.from_json(text)


def test_rows_without_a_category_are_counted_and_not_unknown(tmp_path):
    columns = load(write(tmp_path, table())).columns
    other = pd.DataFrame(
        {
            "count": ["3e6"] * 4,
            "city": ["", "Rome", "", columns.features[1].categories[0]],
            "mass": ["2e-6"] * 4,
        }
    )
    frame = frames.read_frame(write(tmp_path, other))
    rows = table_rows.encode("file", frame, columns)
    assert rows.absent == {"city": 2}
    assert rows.unknown == {"city": ["Rome"]}
    assert rows.inputs[:, 1].tolist() == [0, 0, 0, 1]


def test_other_files_rows_are_found_by_their_columns_names(tmp_path):
    columns = load(write(tmp_path, table())).columns
    other = pd.DataFrame(
        {"count": ["3e6"], "more": ["x"], "city": ["Rome"], "mass": ["2e-6"]}
    )
    frame = frames.read_frame(write(tmp_path, other))
    rows = table_rows.encode("file", frame, columns)
    np.testing.assert_allclose(rows.inputs, [[2e-6, 0, 3e6]], rtol=1e-6)
    assert rows.unknown == {"city": ["Rome"]}
    assert rows.absent == {}
    with pytest.raises(UserError, match="file: has no column 'city', 'mass'"):
        table_rows.encode("file", frame[["count"]], columns)


@pytest.mark.parametrize(
    ("columns", "keys", "message"),
    [
        ({}, {"target": ""}, "must name the column.*mass, city, count, kind"),
        (
            {},
            {"target": "knd"},
            "must name the column.*mass, city, count, kind; received 'knd'",
        ),
        ({}, {"columns": ("mas",)}, "no column 'mas'; did you mean 'mass'"),
        ({}, {"ignore": ("towns",)}, "no column 'towns'; known: "),
        ({}, {"columns": ("mass", "kind")}, "'kind' is no feature"),
        (
            {},
            {"categorical": ("city",), "ignore": ("city",)},
            "'city' is no feature",
        ),
        (
            {},
            {"ignore": ("mass", "city", "count")},
            "has no column but ",
        ),
        ({}, {"categorical": ("kind",)}, "'kind' is no feature"),
        (
            {},
            {"categorical": ("city", "count")},
            "column 'count' has 1.. categories.*at most 65",
        ),
        (
            {"colour": ["red", "blue"] * (ROWS // 2)},
            {"categorical": ("city",)},
            "line 2: 'red' in column 'colour'.*data.categorical",
        ),
        (
            {"length": ["1.5"] * 99 + ["1,5"] + ["2"] * 100},
            {},
            "line 101: '1,5' in column 'length' .* decimal commas",
        ),
        (
            {"length": ["1.5"] * 99 + ["1.5m"] + ["2"] * 100},
            {},
            "line 101: '1.5m' in column 'length' .*correct it, or list",
        ),
        ({"same": [3] * ROWS}, {}, "'same' has no two different values"),
        ({"same": ["a"] * ROWS}, {}, "'same' has no two different values"),
        (
            {"empty": [""] * ROWS},
            {"missing": "mean"},
            "'empty' has no two different values",
        ),
        (
            {"when": 1.7e9 + np.arange(ROWS) / 10},
            {},
            "column 'when' varies by 5.* which float32 cannot hold",
        ),
        ({"kind": ["a"] * ROWS}, {}, "'kind' is 'a' in all rows"),
        (
            {"kind": ["a"] * 9 + [""] + ["b"] * 190},
            {},
            "line 11: has no value in the target 'kind', as 1 of 200",
        ),
        (
            {"name": [f"person {i}" for i in range(ROWS)]},
            {},
            "'name' has 130 categories in 130 training rows",
        ),
        (
            {"team": ["a", "b"] * (ROWS // 2)},
            {"group_column": "team"},
            "2 groups are split by .* none of them is in the ",
        ),
    ],
)
def test_wrong_table_is_named(columns, keys, message, tmp_path):
    file = write(tmp_path, table(**columns))
    with pytest.raises(UserError, match=message) as error:
        load(file, **keys)
    assert "\n" not in str(error.value)


def test_tables_too_small_to_split_are_named(tmp_path):
    frame = table(kind=[f"k{i % 10}" for i in range(ROWS)])
    file = write(tmp_path, frame[:30])
    with pytest.raises(UserError, match="30 rows cannot be split"):
        load(file)
    with pytest.raises(UserError, match=r"data\.file must name"):
        load("")


def test_decimal_commas_are_no_categories(tmp_path):
    rows = [f"{i % 3},5;{'ab'[i % 2]}" for i in range(40)]
    file = tmp_path / "commas.csv"
    file.write_text("\n".join(["size;kind", *rows]))
    config = csv_table.CsvTableConfig(str(file), target="kind")
    with pytest.raises(
        UserError, match="'size' holds numbers with commas, as '0,5"
    ):
        csv_table.load(config, None)


@pytest.mark.parametrize(
    ("thousands", "message"),
    [
        ("1,234", "'size' .*as '1,234'; if the comma groups thousands, write"),
        ("1,234,567", "'size' .*are not read: write 1234567 for 1,234,567"),
    ],
)
def test_grouped_thousands_are_no_categories(thousands, message, tmp_path):
    rows = [f"{thousands if i % 3 else i};{'ab'[i % 2]}" for i in range(40)]
    file = tmp_path / "commas.csv"
    file.write_text("\n".join(["size;kind", *rows]))
    config = csv_table.CsvTableConfig(str(file), target="kind")
    with pytest.raises(UserError, match=message):
        csv_table.load(config, None)


def test_suspicious_columns_are_warned_of_by_name(tmp_path):
    days = pd.date_range("2023-01-01", periods=ROWS)
    mass = RNG.normal(2, 0.5, ROWS)
    mass[[3, 7, 9]] = -999
    file = write(
        tmp_path,
        table(
            mass=mass,
            nr=np.arange(ROWS) + 1,
            month=days.strftime("%m.%Y"),
            weekday=days.strftime("%d.01.2023"),
        ),
    )
    splits = load(file, ignore=["city"])
    said = dict.fromkeys(("mass", "nr", "month", "weekday"), 0)
    for sentence in splits.warnings:
        said[sentence.split("column ")[1].split("'")[1]] += 1
    assert said == dict.fromkeys(said, 1)
    assert splits.left_out == ("city",)
    known = load(file, ignore=["city", "nr", "month", "weekday"])
    assert len(known.warnings) == 1
    keys = {"missing_values": ["-999"], "missing": "mean"}
    clean = load(file, ignore=["city", "nr", "month", "weekday"], **keys)
    assert not clean.warnings
    assert clean.filled == 3
    assert clean.columns.features[0].mean == pytest.approx(2, abs=0.2)
    again = TableColumns.from_json(clean.columns.to_json())
    assert again.missing_values == ("-999",)
    rows = table_rows.encode(file, frames.read_frame(file), again)
    assert rows.filled == 3
    assert not load(write(tmp_path, table())).warnings


def test_names_of_classes_are_numbers_as_files_write_them(tmp_path):
    words = ["1_000", "2_000"] * (ROWS // 2)
    splits = load(write(tmp_path, table(kind=words)))
    with pytest.raises(ValueError, match="parse string '1_000'"):
        splits.with_numbers()


def test_number_that_is_constant_in_the_training_rows_is_named(tmp_path):
    kind = np.where(np.arange(ROWS) % 100 == 5, 2, 1)
    file = write(tmp_path, table(kind=kind))
    for seed in range(99):
        splits = load(file, split_seed=seed)
        if np.ptp(splits.train.labels) == 0:
            break
    with pytest.raises(UserError, match="'kind' has no two different values"):
        splits.with_numbers()
    recipe = Recipe.parse(
        {
            "model": {"architecture": "residual_mlp"},
            "data": {
                "name": "csv_table",
                "file": str(file),
                "target": "kind",
                "split_seed": seed,
            },
            "task": {"name": "tabular_regression"},
        }
    )
    with pytest.raises(UserError, match=r"data\.target: column 'kind' has no"):
        make_task(recipe)


@pytest.mark.parametrize(
    ("groups", "keys", "message"),
    [
        (np.arange(ROWS), {}, "'team' makes each row its own group"),
        (["a"] * ROWS, {}, "'team' makes all rows one group"),
        (
            [*"ab" * 50, "", *"abc" * 33],
            {},
            "line 102: has no group in 'team', as 1 of 200 lines",
        ),
        (
            [*"bg"] * 100,  # by their hash for training and test
            {},
            "2 groups .* the validation split. .*validation_fraction .0 does",
        ),
        (
            ["b", "e"] * 100,
            {"validation_fraction": 0.0, "test_fraction": 0.01},
            "2 groups .* the test split. .* larger data.test_fraction",
        ),
    ],
)
def test_groups_that_cannot_be_split_are_named(groups, keys, message, tmp_path):
    file = write(tmp_path, table(team=groups))
    with pytest.raises(UserError, match=message):
        load(file, group_column="team", **keys)


@pytest.mark.parametrize("column", ["mass", "yield"])
@pytest.mark.parametrize("value", [1e45, 1e90, -3e38])
def test_numbers_too_far_for_float32_are_named_by_their_line(
    column, value, tmp_path
):
    frame = table(**{"yield": RNG.normal(size=ROWS)})
    splits = load(write(tmp_path, frame), target="yield")
    tested = splits.test.inputs[0, 0]
    row = int(np.argmin(np.abs(frame.mass - tested)))
    frame.loc[row, column] = value
    said = f"line {row + 2}: {value:g} in column '{column}' is too far from"
    with pytest.raises(UserError, match=re.escape(said)):
        load(write(tmp_path, frame), target="yield")


def test_numbers_that_processors_count_as_zero_are_refused(tmp_path):
    frame = table(mass=RNG.normal(0, 1e-40, ROWS))
    with pytest.raises(UserError, match=r"'mass' varies .* another unit"):
        load(write(tmp_path, frame))


def test_a_word_for_missing_numbers_is_named_with_its_cure(tmp_path):
    cells = table()["count"].astype(str)
    cells[[3, 8]] = "k.A."
    file = write(tmp_path, table(count=cells))
    message = (
        r'line 5: \'k.A.\' in column \'count\' .* missing_values = \["k.A."\]; '
        r"else correct it, or list the column in data.categorical"
    )
    with pytest.raises(UserError, match=message):
        load(file)
    assert load(file, missing_values=("k.A.",), missing="mean").filled == 2
    # A row without a target teaches nothing: there it is no cure.
    with pytest.raises(
        UserError, match="correct such lines, or leave"
    ) as error:
        load(file, target="count")
    assert "missing_values" not in str(error.value)
