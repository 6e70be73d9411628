"""The scripts answer as `kbp predict` does, without kbp."""

import csv
import io
import re

import deployed
import fresh
import numpy as np
import pytest
from deployed import alone
from PIL import Image

from kbp import deploy
from kbp.__main__ import main
from kbp.data.images.kinds import ImageKinds
from kbp.data.table import Column, TableColumns


def rows_of(path):
    return [*csv.reader(io.StringIO(path.read_text()))]


def complaint(folder, *words):
    """Return the one line with which a folder's script gives up."""
    done = fresh.command("predict.py", *map(str, words), cwd=folder)
    assert done.returncode == 1
    (line,) = (
        line
        for line in done.stderr.splitlines()
        if not line.startswith("INFO: ")  # LiteRT's
    )
    return line


def picture(path, size, mode="L"):
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    rng = np.random.default_rng(3)
    values = rng.integers(0, 256, (8, 9, *channels), "uint8")
    Image.fromarray(values).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


@pytest.mark.parametrize(
    ("size", "mode"),
    [((100, 70), "L"), ((20, 55), "RGBA"), ((900, 901), "RGB")],
)
def test_classes_of_images_are_those_of_kbp(tmp_path, size, mode):
    image = picture(tmp_path / "image.png", size, mode)
    entry = "pyramid_bpnet_small.digits"
    folder = deploy.deploy(entry, "python", tmp_path / "app")
    assert main(["predict", entry, str(image), "--out", str(tmp_path)]) == 0
    right = rows_of(tmp_path / "predictions.csv")[1]
    assert alone(folder, image) == [right[:3]]
    assert alone(folder, "example.png")[0][1] in list("0123456789")


@pytest.mark.parametrize("size", [(300, 200), (600, 700)])
def test_masks_of_images_are_those_of_kbp(tmp_path, size):
    image = picture(tmp_path / "image.png", size)
    entry = "pyramid_bpnet_small.dsb2018"
    folder = deploy.deploy(entry, "python", tmp_path / "app")
    out = tmp_path / "masks"
    assert main(["predict", entry, str(image), "--out", str(out)]) == 0
    alone(folder, image, tmp_path / "mask.png")
    right = np.asarray(Image.open(out / "image.png"))
    found = np.asarray(Image.open(tmp_path / "mask.png"))
    np.testing.assert_array_equal(found, right)
    assert {*np.unique(found)} == {0, 255}


def test_images_have_the_white_and_the_size_of_training(tmp_path):
    path = deployed.dense(tmp_path / "run", (8, 8, 1), (10,))
    values = np.random.default_rng(0).integers(0, 4000, (9, 12), "uint16")
    image = tmp_path / "image.png"
    Image.fromarray(values).save(image)
    answers = []
    for resize in ("crop", "pad", "stretch"):
        kinds = ImageKinds(4095, {"16-bit grey": 4000}, resize)
        (path.parent / "images.json").write_text(kinds.to_json())
        folder = deploy.deploy(path, "python", tmp_path / f"app_{resize}")
        out = tmp_path / resize
        assert main(["predict", str(path), str(image), "--out", str(out)]) == 0
        answers += [rows_of(out / "predictions.csv")[1][:3]]
        assert alone(folder, image) == answers[-1:]
    assert len({*map(str, answers)}) == 3


@pytest.mark.parametrize(
    "entry",
    [
        "bp_transformer_small.digits",
        "bp_transformer_small.ettm1_720",
        "pyramid_bpnet_small.isbi2012",
    ],
)
def test_the_command_of_the_readme_runs(tmp_path, entry):
    folder = deploy.deploy(entry, "python", tmp_path / "app")
    text = (folder / "README.md").read_text()
    words = re.search("python predict.py ([^>\n]+)", text)[1].split()
    assert len(alone(folder, *words)) > 0


@pytest.mark.parametrize("classes", [("low", "high", 'a "b"'), ()])
def test_rows_of_tables_are_those_of_kbp(tmp_path, classes):
    path = deployed.table(tmp_path / "run", classes)
    folder = deploy.deploy(path, "python", tmp_path / "app")
    rows, out = path.parent / "rows.csv", tmp_path / "out"
    assert main(["predict", str(path), str(rows), "--out", str(out)]) == 0
    right = rows_of(out / "predictions.csv")
    found = alone(folder, rows)
    assert found == [row[4:] for row in right]
    assert len({row[0] for row in found[1:]}) > 1
    assert len(alone(folder, "example.csv")) == 2


ODD_CELLS = {
    "mass": [
        *("1.5", " 2 ", "1e0", "", "nan", "NaN", "NA", "n/a", "-", "null"),
        *("-999", "-999.0", " -999 ", "-9.99e2", "-999,0", "?", " None "),
    ],
    "city": ["Ulm", " Ulm ", "Ulm\u00a0", "ulm", "NA", "?", "-999.0", "", "x"],
}
WRONG_CELLS = ["1_000", "inf", "-Infinity", "1e101", "1,5", "word", "0x10"]


def odd_table(folder, cells, missing="mean"):
    path = deployed.table(folder)
    columns = TableColumns(
        deployed.FEATURES,
        Column("kind", ("low", "high", 'a "b"')),
        missing,
        ("-999",),
    )
    (folder / "columns.json").write_text(columns.to_json())
    length = max(map(len, cells.values()))
    held = {"count": ["3"], " mass": ["1"], "city ": ["Ulm"]} | {
        {"mass": " mass", "city": "city "}[k]: v for k, v in cells.items()
    }
    content = io.StringIO()
    table = csv.writer(content, lineterminator="\n")
    table.writerow([*held, "a, b"])
    for index in range(length):
        row = [values[index % len(values)] for values in held.values()]
        table.writerow([*row, "other"])
    (folder / "rows.csv").write_text(f"{content.getvalue()},,,\n\n")
    return path


@pytest.mark.parametrize("column", ODD_CELLS)
def test_odd_cells_are_read_as_kbp_reads_them(column, tmp_path):
    cells = {column: ODD_CELLS[column]}
    path = odd_table(tmp_path / "run", cells)
    folder = deploy.deploy(path, "python", tmp_path / "app")
    rows, out = path.parent / "rows.csv", tmp_path / "out"
    assert main(["predict", str(path), str(rows), "--out", str(out)]) == 0
    right = rows_of(out / "predictions.csv")
    assert alone(folder, rows) == [row[4:] for row in right]
    assert len({tuple(row[4:]) for row in right[1:]}) > 1


@pytest.mark.parametrize(
    ("cell", "missing"),
    [
        *((cell, "mean") for cell in WRONG_CELLS),
        ("", "refuse"),
        ("-999", "refuse"),
    ],
)
def test_cells_that_kbp_refuses_are_one_clear_line(
    cell, missing, tmp_path, capsys
):
    path = odd_table(tmp_path / "run", {"mass": ["1", cell]}, missing)
    folder = deploy.deploy(path, "python", tmp_path / "app")
    rows, out = path.parent / "rows.csv", tmp_path / "out"
    assert main(["predict", str(path), str(rows), "--out", str(out)]) == 2
    assert "line 3" in capsys.readouterr().err
    assert complaint(folder, rows).startswith(f"{rows}, line 3: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", ": has no row"),
        (b"mass,city,count\n", ": has no row"),
        (b"mass,city\n1,Ulm\n", ": has no column 'count'"),
        (b"mass,city,count\n1,Ulm\n", ", line 2: has 2 fields"),
        (b"mass,city,count\n\xff\n", ": cannot be read"),
    ],
)
def test_files_that_are_no_tables_are_one_clear_line(text, said, tmp_path):
    path = deployed.table(tmp_path / "run")
    folder = deploy.deploy(path, "python", tmp_path / "app")
    rows = tmp_path / "rows.csv"
    rows.write_bytes(text)
    assert complaint(folder, rows).startswith(f"{rows}{said}")
    assert "nowhere: cannot be read" in complaint(folder, "nowhere")


def test_what_is_whiter_than_white_is_refused(tmp_path):
    path = deployed.dense(tmp_path / "run", (8, 8, 1), (10,))
    kinds = ImageKinds(4095, {"16-bit grey": 4000})
    (path.parent / "images.json").write_text(kinds.to_json())
    folder, image = tmp_path / "app", tmp_path / "image.png"
    deploy.deploy(path, "python", folder)
    Image.fromarray(np.full((8, 8), 65535, "uint16")).save(image)
    said = complaint(folder, image)
    assert "from 65535 to 65535, and white is 4095" in said


def test_forecasts_are_those_of_kbp(tmp_path):
    path = deployed.series(tmp_path / "run")
    folder = deploy.deploy(path, "python", tmp_path / "app")
    rows, out = path.parent / "rows.csv", tmp_path / "out"
    words = ["--time-column", "date", "--target", "a", "c"]
    words = ["predict", str(path), str(rows), *words, "--out", str(out)]
    assert main(words) == 0
    right, found = rows_of(out / "rows_forecast.csv"), alone(folder, rows)
    assert found[0] == ["step", "a", "c"]
    np.testing.assert_allclose(
        np.array(found[1:], "float64")[:, 1:],
        np.array([row[1:] for row in right[1:]], "float64"),
        rtol=1e-4,
    )


@pytest.mark.parametrize(
    ("entry", "arguments"),
    [
        ("pyramid_bpnet_small.digits", []),
        ("pyramid_bpnet_small.digits", ["-h"]),
        ("pyramid_bpnet_small.isbi2012", ["example.png"]),
        ("bp_transformer_small.etth1_96", []),
    ],
)
def test_scripts_say_how_they_are_used(tmp_path, entry, arguments):
    folder = deploy.deploy(entry, "python", tmp_path / "app")
    done = fresh.command("predict.py", *arguments, cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("Use: python predict.py ")
    assert done.stderr.count("\n") == 1


def test_a_column_with_a_gap_is_named_and_not_left_out(tmp_path):
    entry = "bp_transformer_small.etth1_96"
    folder = deploy.deploy(entry, "python", tmp_path / "app")
    lines = (folder / "example.csv").read_text().splitlines()
    first, *rest = lines[-1].split(",")
    (folder / "gap.csv").write_text(
        "\n".join([*lines[:-1], ",".join(["", *rest])])
    )
    done = fresh.command("predict.py", "gap.csv", cwd=folder)
    column = lines[0].split(",")[0]
    assert first
    assert done.stderr.splitlines()[-1] == (
        f"gap.csv: column {column} has a field that is no number."
    )
