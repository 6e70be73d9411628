"""No spreadsheet takes the text of others for a formula."""

import csv

import pytest

from kbp._utils.csv_text import as_csv, plain_cell


@pytest.mark.parametrize(
    "cell",
    ["=cmd|x", "=1+1.png", "@SUM(A1)", "+cmd", "-x", "-1-1", "\t=1", "\r=1"],
)
def test_formulas_get_an_apostrophe(cell):
    assert plain_cell(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell",
    [
        *("a=b", "", "-", "-1.5", "+1,5", "-1.234,5", "-1e-05", "+49 17"),
        *("-5%", -1, None, "2024-01-01"),
    ],
)
def test_numbers_and_other_text_stay(cell):
    assert plain_cell(cell) == cell


def test_rows_are_read_as_they_were(tmp_path):
    rows = [["file", "class, or none"], ["a b.png", 'the "first"\nline']]
    file = tmp_path / "rows.csv"
    file.write_text(as_csv(rows))
    with file.open(newline="") as stream:
        assert [*csv.reader(stream)] == rows
