"""CSV files as people write them."""

import numpy as np
import pytest

from kbp.data.formats import frames
from kbp.data.formats.frames import numbers, read_frame
from kbp.errors import UserError


def column(tmp_path, text, name="x", **options):
    file = tmp_path / "table.csv"
    file.write_bytes(text)
    return file, read_frame(file, **options)[name]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (b"t,x\n1,1.5\n2,-2e3\n3,\n", {}),
        ("t;x\n1;1,5\n\n2;-2e3\n3;NA\n".encode("utf-8-sig"), {}),
        (b"t\tx\r\n1\t1,5\r\n2\t-2000\r\n3\t?", {}),
        ("ä|x\n1|1,5\n2|-2000,0\n3|-".encode("cp1252"), {"encoding": "cp1252"}),
        ("t,x\n1,1.5\n2,-2000\n3,nan".encode("utf-16"), {"encoding": "utf-16"}),
        (b't,x\n"1,\n1",1.5\n2,-2000\n3,null\n', {}),
        (b"sep=;\r\nt;x\r\n1;1,5\r\n2;-2e3\r\n3;\r\n", {}),
        (b'\xef\xbb\xbf"sep=|"\nt|x\n1|1,5\n2|-2e3\n3|-\n', {}),
        (b'"t;u;v",x\n1,1.5\n2,-2e3\n3,\n', {}),
        (b'x,"t;u;\nv;w"\n1.5,1\n-2e3,2\n,3\n', {}),
        ("x,t\n1.5,1\n-2e3,2\n,3\n".encode("utf-8-sig"), {"encoding": "U8"}),
        (
            "\ufeffx\n1.5\n-2e3\nNA\n".encode("utf-16-le"),
            {"encoding": "utf-16le"},
        ),
    ],
)
def test_numbers_are_found_however_they_are_written(tmp_path, text, options):
    file, found = column(tmp_path, text, **options)
    decimal = "," if b"," in text and b"1,5" in text else "."
    np.testing.assert_array_equal(
        numbers(file, found, decimal=decimal), [1.5, -2000, np.nan]
    )


@pytest.mark.parametrize(
    ("value", "decimal", "message"),
    [
        ("1,5", ".", r"line 3: '1,5' in column 'x' .*decimal = \",\" reads"),
        ("1,234", ".", r"thousands, write 1234 for 1,234; else decimal = "),
        ("1,234,567", ".", r"are not read: write 1234567 for 1,234,567\.$"),
        ("1,234.5", ".", r"are not read: write 1234.5 for 1,234.5\.$"),
        ("1.234", ",", "'1.234' in column 'x' .* points between digits"),
        ("1.234,5", ",", "'1.234,5' in column 'x' .* points between digits"),
        ("1_000", ".", "'1_000' in column 'x' is no finite number"),
        ("inf", ".", "'inf' in column 'x' is no finite number"),
        ("1e101", ".", "no finite number below 1e\\+100"),
        ("1_0.5", ".", "'1_0.5' in column 'x' is no finite number"),
        ("=A1", ".", "'=A1' in column 'x' is no finite number"),
        (
            "fast",
            ".",
            "'fast' in column 'x' .*leave the column out of the keys",
        ),
    ],
)
def test_what_is_no_number_is_named(tmp_path, value, decimal, message):
    file, found = column(tmp_path, f"t;x\n1;0\n2;{value}\n".encode())
    with pytest.raises(UserError, match=message):
        numbers(file, found, decimal=decimal)


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize(
    ("words", "listed"),
    [
        (["n/v"], '["n/v"]'),
        (["k.A.", "defekt", "k.A."], '["k.A.", "defekt"]'),
        ([*"abcdef"], '["a", "b", "c", "d", "e"] and so on'),
    ],
)
def test_words_among_numbers_may_stand_for_missing_ones(
    words, listed, decimal, tmp_path
):
    """The cure that the error names is one."""
    cells = [*map(str, range(7)), *words]
    text = "".join(f"{i};{cell}\n" for i, cell in enumerate(cells))
    file, found = column(tmp_path, f"t;x\n{text}".encode())
    with pytest.raises(UserError, match="no finite number") as error:
        numbers(file, found, decimal=decimal)
    said = f"if it stands for a missing value, say missing_values = {listed}; "
    assert said + "else leave the column out of the keys" in str(error.value)
    assert np.isnan(
        numbers(file, frames.without(found, words), decimal=decimal)[7:]
    ).all()


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["1", "2", "n/v", "k.A."], "leave the column out of the keys"),
        (["1", "2", "3", "4 MW"], "leave the column out of the keys"),
        (["1", "2", "3", "#REF!"], "save the file with values"),
    ],
)
def test_other_words_are_not_called_missing(cells, said, tmp_path):
    """Half of a column, numbers with units, or what stands for a formula."""
    text = "".join(f"{i};{cell}\n" for i, cell in enumerate(cells))
    file, found = column(tmp_path, f"t;x\n{text}".encode())
    with pytest.raises(UserError, match=said) as error:
        numbers(file, found)
    assert "missing_values" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b"a,b\n", "holds no rows"),
        (b"a,b\n1\n", "line 2: has 1 fields, the first line 2"),
        (b"a,b\n1,2\n\n1,2,3\n", "line 4: has 3 fields"),
        (
            b'a,b\n1,2\n3,"x\n4,5\n6,7\n',
            "line 3: .*quote there is not closed",
        ),
        (b'a,b\n1,"x"y\n', "line 2: .*not followed by the end of its field"),
        (b"a,a\n1,2\n", "two columns have one name: a"),
        (b"a,b\n1,2\n1,\x002\n", "line 3: holds a byte of zero .NUL"),
        ("a,b\n1,2\n".encode("utf-16-le"), "line 1: holds a byte of zero"),
        (
            ",".join(f"c{i}" for i in range(10**6)).encode() + b"\n1\n",
            "has 1000000 columns; at most 10000",
        ),
        ("a,b\nä,2\n".encode("cp1252"), "not in the encoding utf-8"),
    ],
)
def test_files_that_are_no_tables_are_named(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        column(tmp_path, text, "a")


def test_lines_of_empty_fields_are_missing_values_but_at_the_end(tmp_path):
    file, found = column(tmp_path, b"t;x\n1;1\n;\n\n3;3\n;\n\n")
    assert list(found.index) == [2, 3, 5]
    np.testing.assert_array_equal(numbers(file, found), [1, np.nan, 3])
    file, found = column(tmp_path, b"x\n1\n\n3\n\n")
    np.testing.assert_array_equal(numbers(file, found), [1, np.nan, 3])


def test_values_that_stand_for_missing_ones_are_missing(tmp_path):
    text = b"x;y\n-999;a\n1,5;unknown\n-999,0; -999 \n-99;b\n"
    file, found = column(tmp_path, text)
    found = frames.without(found, ["-999", "unknown"])
    np.testing.assert_array_equal(
        numbers(file, found, decimal=","), [np.nan, 1.5, np.nan, -99]
    )
    names = frames.without(read_frame(file)["y"], ["-999", "unknown"])
    assert frames.words(names).isna().tolist() == [False, True, True, False]


@pytest.mark.parametrize("cell", ["=A1", "=SUM(A1:A2)", "#REF!", "#DIV/0!"])
def test_formulas_are_no_categories(cell, tmp_path):
    file, found = column(tmp_path, f"t;x\n1;a\n2;{cell}\n".encode())
    with pytest.raises(UserError, match=r"line 3: .* in column 'x' is a form"):
        frames.check_formulas(file, found)
    file, found = column(tmp_path, b"t;x\n1;a = b\n2;=\n3;#1\n")
    frames.check_formulas(file, found)


def test_lines_after_the_one_that_names_the_separator_keep_their_numbers(
    tmp_path,
):
    file, found = column(tmp_path, b"sep=;\nt;x\n1;a\n")
    with pytest.raises(UserError, match="line 3: 'a' in column 'x'"):
        numbers(file, found)


@pytest.mark.parametrize("name", ["no.csv", "no.parquet"])
def test_a_missing_file_is_named_once(tmp_path, name):
    with pytest.raises(UserError, match="No such file") as caught:
        read_frame(tmp_path / name)
    assert str(caught.value).count(name) == 1
