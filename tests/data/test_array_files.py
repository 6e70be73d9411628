"""NumPy's files, and those that promise more than they hold."""

import io
import json
import re
import zipfile

import fresh
import numpy as np
import pytest

from kbp.data import array_files
from kbp.data.array_files import read_arrays
from kbp.errors import UserError

HUGE = 200_000  # float64 each way are 320 GB


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(shape, descr="<f8"):
    """Return an array's header, and none of its values."""
    file = io.BytesIO()
    words = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(file, words)
    return file.getvalue()


def npz(content, kind=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", kind) as archive,
        archive.open("a.npy", "w", force_zip64=True) as member,
    ):
        for part in content:
            member.write(part)
    return file.getvalue()


def zeros():
    """Yield the parts of an array of 256 MB, a quarter of a kB packed each."""
    yield header((2**28,), "|u1")
    for _ in range(256):
        yield bytes(1 << 20)


BOMBS = {
    "promise.npy": lambda: header((HUGE, HUGE)) + b"\0" * 64,
    "overflow.npy": lambda: header((2**62, 2**62)),
    "negative.npy": lambda: header((-1,)),
    "cut.npy": lambda: npy(np.ones(99))[:-9],
    "objects.npy": lambda: npy(np.array([{}], object)),
    "text.npy": lambda: b"no array",
    "none.npy": lambda: b"",
    "promise.npz": lambda: npz([header((HUGE, HUGE)), b"\0" * 64]),
    "promise_plain.npz": lambda: npz([header((HUGE, HUGE))], 0),
    "zeros.npz": lambda: npz(zeros()),
    "cut.npz": lambda: npz([npy(np.ones(99))])[:-9],
    "text.npz": lambda: npz([b"no array"] * 9)[:60],
    "none.npz": lambda: b"",
}
CHILD = """
import json, sys
import bombs, pathlib
from kbp.data import array_files
from kbp.data.array_files import read_arrays
array_files._MOST_UNPACKED = 10**8
print(json.dumps({p.name: bombs.outcome(read_arrays, p)
    for p in pathlib.Path(sys.argv[1]).iterdir()}))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arrays")
    for name, make in BOMBS.items():
        (folder / name).write_bytes(make())
    said = fresh.python(CHILD, folder, cwd=fresh.ROOT / "tests")
    return json.loads(said.splitlines()[-1])


@pytest.mark.long
@pytest.mark.parametrize("name", BOMBS)
def test_what_is_not_there_is_refused_in_one_line(found, name):
    result = found[name]
    assert re.search(rf"{name}: (cannot be read|its arrays)", result["said"])
    assert "\n" not in result["said"]
    assert result["bytes"] < 2e8
    assert result["seconds"] < 10


def test_arrays_are_read(tmp_path, monkeypatch):
    one = np.arange(6, dtype="float32").reshape(2, 3)
    np.save(tmp_path / "a.npy", one)
    np.savez(tmp_path / "b.npz", x=one, y=one.T)
    np.savez_compressed(tmp_path / "c.npz", x=one)
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npy")[""], one)
    found = read_arrays(tmp_path / "b.npz")
    assert {*found} == {"x", "y"}
    np.testing.assert_array_equal(found["y"], one.T)
    assert {*read_arrays(tmp_path / "c.npz")} == {"x"}
    monkeypatch.setattr(array_files, "memory", lambda: 40)
    for name in ("a.npy", "b.npz"):
        with pytest.raises(UserError, match=r"arrays have \d+ bytes; at most"):
            read_arrays(tmp_path / name)
    with pytest.raises(
        UserError, match=r"d\.npy: cannot be read: no such file"
    ):
        read_arrays(tmp_path / "d.npy")
