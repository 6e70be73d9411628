"""What a report shows of a file's size and memory."""

import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from rich.console import Console

from kbp.export import Footprint
from kbp.export.memory import LayerSize
from kbp.reports import footprint

SVG = "{http://www.w3.org/2000/svg}"


def taken(sizes, size=None, **changes):
    values = {
        "size": sum(sizes) + 100 if size is None else size,
        "layers": tuple(
            LayerSize(f"layer{i}", 1, n // 4, n) for i, n in enumerate(sizes)
        ),
        "operations": {"CONV_2D": 2, "ADD": 1},
        "peak": 64,
        "operation": "CONV_2D",
        "layer": "layer0",
        "planned": 96,
        "measured": None,
    }
    return Footprint(**{**values, **changes})


def boxes(text):
    """Return the areas of a figure by their titles, and check their places."""
    tree = ET.fromstring(text)
    found = {}
    for group in tree.iter("g"):
        rectangle = group.find("rect")
        x, y, w, h = (
            float(rectangle.get(key)) for key in ("x", "y", "width", "height")
        )
        found[group.find("title").text] = (x, y, w + 2, h + 2)
        for words in group.iter("text"):
            assert x < float(words.get("x")) < x + w
            assert y < float(words.get("y")) < y + h
    return found


@pytest.mark.parametrize("seed", range(5))
def test_areas_are_bytes_and_fill_the_figure(seed):
    rng = np.random.default_rng(seed)
    sizes = [int(x) for x in rng.lognormal(8, 1, rng.integers(1, 20))]
    found = boxes(footprint.treemap(taken(sizes)))
    assert len(found) == len(sizes) + 1
    total, areas = sum(sizes) + 100, []
    for title, (x, y, w, h) in found.items():
        size = int(re.search(r": (\d[\d,]*) bytes", title)[1].replace(",", ""))
        assert w * h == pytest.approx(900 * 300 * size / total, rel=0.1, abs=90)
        assert -0.1 <= x <= x + w <= 900.1
        assert -0.1 <= y <= y + h <= 300.1
        areas.append(w * h)
    assert sum(areas) == pytest.approx(900 * 300, rel=0.02)


def test_layers_without_bytes_have_no_area():
    found = boxes(footprint.treemap(taken([400, 0, 40])))
    assert not any("layer1" in title for title in found)
    assert not boxes(footprint.treemap(taken([], size=0)))


def test_names_are_text_and_no_marks():
    layers = (LayerSize("<script>&", 1, 9, 900),)
    text = footprint.treemap(taken([], size=1000, layers=layers))
    assert "<script>" not in text
    assert any("<script>&" in title for title in boxes(text))


def test_white_letters_are_read_on_every_fill():
    def luminance(color):
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [
            p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4
            for p in parts
        ]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    text = footprint.treemap(taken([400, 40]))
    fills = set(re.findall(r'<rect[^>]* fill="(#\w+)"', text))
    assert len(fills) == 2
    for fill in fills:
        assert 1.05 / (luminance(fill) + 0.05) >= 4.5  # on the fill
        assert (luminance(fill) + 0.05) / 0.05 >= 2  # the fill on black


def test_the_table_sums_up_to_the_file():
    layers = (
        LayerSize("stem", 1, 10, 40),
        LayerSize("reshape", 1, 0, 8),
        LayerSize("add", 2, 0, 0),
    )
    table = footprint.table(taken([], size=148, layers=layers))
    assert table.rows == (
        ("stem", "1", "10", "40", "27.0%"),
        ("2 without weights", "3", "0", "8", "5.4%"),
        ("tables and metadata", "-", "-", "100", "67.6%"),
    )
    assert table.remark == (
        "Operations: 2 CONV_2D, 1 ADD. Memory: 96 bytes for activations; a "
        "runtime adds tables of its own. Most of it is needed at CONV_2D of "
        "layer0: 64 bytes at once."
    )
    said = footprint.in_words(taken([8], measured=128))
    assert "Memory: 128 bytes in TFLite Micro, 96 bytes for act" in said


def test_a_terminal_of_80_columns_holds_the_table():
    console = Console(file=io.StringIO(), width=80)
    console.print(footprint.as_rich(taken([4_000_000, 400])))
    text = console.file.getvalue()
    assert "…" not in text
    assert "3,999" not in text
    assert "4,000,000" in text
