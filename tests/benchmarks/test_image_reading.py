"""Images per second of a folder of photographs."""

import numpy as np
import pytest
from PIL import Image

from kbp._utils.machine import machine, versions
from kbp.benchmarks.image_reading import cases

SMALL = cases.Case((".jpg", ".png"), 48, 64, 8)


def test_readers_are_timed_and_compared(monkeypatch, tmp_path):
    read = []
    for name, reader in cases.READERS.items():
        monkeypatch.setitem(
            cases.READERS,
            name,
            lambda folder, n=name, r=reader: (read.append(n), r(folder)),
        )
    figures = cases.measure(SMALL, 3)
    assert read == [*("keras", "kbp", "kbp", "keras") * 2]
    assert figures["images"] == 8
    for name in ("kbp", "keras", "ratio"):
        low, high = figures["quartiles"][name]
        assert 0 < low <= figures[name] <= high
    common = {"machine": machine(), "versions": versions(), "commit": "c"}
    table = cases.markdown_table([{"case": "small", **common, **figures}])
    assert "| small | 8 | " in table
    assert f"{figures['ratio']:.2f} (" in table


@pytest.mark.parametrize("name", cases.CASES)
def test_cases_can_be_read_by_both(name):
    case = cases.CASES[name]
    assert case.count >= 16
    assert case.count % (2 * len(case.suffixes)) == 0


def test_files_are_the_same_each_time_and_of_each_kind(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        cases.write(tmp_path / folder, SMALL, 0)
    one, two = (
        {p.relative_to(tmp_path / x): p.read_bytes() for p in files}
        for x in ("one", "two")
        if (files := sorted((tmp_path / x).rglob("*.*")))
    )
    assert one == two
    assert len({*one.values()}) == 8
    suffixes = [path.suffix for path in one if path.parts[0] == "a"]
    assert sorted(suffixes) == [".jpg", ".jpg", ".png", ".png"]
    image = np.asarray(Image.open(tmp_path / "one" / "a" / "0.jpg"))
    assert image.shape == (48, 64, 3)
    assert 10 < image.std() < 90
