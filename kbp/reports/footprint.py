"""What a file takes of storage and memory, as table, words and figure."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.text import Text

from kbp.export import Footprint
from kbp.export.memory import LayerSize
from kbp.reports.fitted_table import FittedTable
from kbp.reports.result_table import ResultTable

REST = "tables and metadata"
_WIDTH, _HEIGHT, _GAP = 900.0, 300.0, 2.0
_LETTER, _LINE = 6.6, 15.0  # what text takes, in the figure's units
_SHORTEST = 8  # letters; fewer tell no name
_WIDE = 2.0  # boxes are wide rather than high, as names are
# White letters are read on both, and both stand out on white and on black.
_FILL, _FILL_OF_REST = "#1d4ed8", "#475569"


@dataclass(frozen=True)
class _Box:
    """A part of the figure, with its place there."""

    name: str
    size: int
    x: float
    y: float
    width: float
    height: float


def table(taken: Footprint) -> ResultTable:
    """Return a table of what each layer with weights takes.

    Args:
        taken: by the file.
    """
    full = [layer for layer in taken.layers if layer.parameters]
    others = [layer for layer in taken.layers if not layer.parameters]
    if others:
        sums = (
            sum(getattr(layer, key) for layer in others)
            for key in ("operations", "parameters", "size")
        )
        full.append(LayerSize(f"{len(others)} without weights", *sums))
    rows = [
        (x.name, f"{x.operations}", f"{x.parameters:,}", *_bytes(x.size, taken))
        for x in full
    ]
    rows.append((REST, "-", "-", *_bytes(taken.rest, taken)))
    return ResultTable(
        ("layer", "operations", "parameters", "bytes", "share"),
        tuple(rows),
        in_words(taken),
    )


def as_rich(taken: Footprint) -> Group:
    """Return the table for rich to print, and what else there is to say.

    Args:
        taken: by the file.
    """
    made = table(taken)
    return Group(
        FittedTable("What layers take", made.headings, made.rows),
        Text(made.remark),
    )


def in_words(taken: Footprint) -> str:
    """Say what operations there are, and how much memory they need.

    Args:
        taken: by the file.
    """
    counts = [f"{count} {name}" for name, count in taken.operations.items()]
    said = f"Operations: {', '.join(counts) or 'none'}. {memory(taken)}"
    if not taken.operation:
        return said
    return (
        f"{said} Most of it is needed at {taken.operation} of {taken.layer}: "
        f"{taken.peak:,} bytes at once."
    )


def memory(taken: Footprint) -> str:
    """Say how much memory a file needs.

    Args:
        taken: by the file.
    """
    planned = f"{taken.planned:,} bytes for activations"
    if taken.measured is None:
        return f"Memory: {planned}; a runtime adds tables of its own."
    return f"Memory: {taken.measured:,} bytes in TFLite Micro, {planned}."


def treemap(taken: Footprint) -> str:
    """Draw what each layer takes of the file, as SVG text.

    Areas are bytes. It needs no script: names that have no room are shown when
    the pointer rests on an area.

    Args:
        taken: by the file.
    """
    sizes = [(x.name, x.size) for x in taken.layers] + [(REST, taken.rest)]
    sizes = sorted((x for x in sizes if x[1] > 0), key=lambda x: -x[1])
    boxes = _boxes(sizes, 0.0, 0.0, _WIDTH, _HEIGHT) if sizes else ()
    inside = "\n".join(_drawn(box, taken) for box in boxes)
    return (
        f'<svg width="{_WIDTH:.0f}" height="{_HEIGHT:.0f}" '
        f'viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" '
        f'aria-label="bytes of the file by layer" '
        f'font-family="system-ui, sans-serif" font-size="12">\n{inside}\n</svg>'
    )


def _boxes(
    sizes: Sequence[tuple[str, int]],
    x: float,
    y: float,
    width: float,
    height: float,
) -> Iterator[_Box]:
    """Cut a box in two halves of about the same size, until each has its own.

    Args:
        sizes: names and positive sizes, the largest first.
        x: left edge.
        y: upper edge.
        width: of the box.
        height: of the box.
    """
    if len(sizes) == 1:
        yield _Box(*sizes[0], x, y, width, height)
        return
    total, cut, first = sum(size for _, size in sizes), 1, sizes[0][1]
    while cut < len(sizes) - 1 and 2 * first + sizes[cut][1] <= total:
        first += sizes[cut][1]
        cut += 1
    share = first / total
    if width > _WIDE * height:
        left = width * share
        yield from _boxes(sizes[:cut], x, y, left, height)
        yield from _boxes(sizes[cut:], x + left, y, width - left, height)
    else:
        above = height * share
        yield from _boxes(sizes[:cut], x, y, width, above)
        yield from _boxes(sizes[cut:], x, y + above, width, height - above)


def _drawn(box: _Box, taken: Footprint) -> str:
    """Return a box with as much of its text as there is room for."""
    name = html.escape(box.name)
    size, share = _bytes(box.size, taken)
    fill = _FILL_OF_REST if box.name == REST else _FILL
    lines: list[str] = []
    room = int((box.width - 10) / _LETTER)
    for text in (_shortened(box.name, room), f"{size} B, {share}"):
        if len(text) > room or _LINE * (len(lines) + 1) + 6 > box.height:
            break
        lines.append(
            f'<text x="{box.x + 6:.1f}" '
            f'y="{box.y + _LINE * (len(lines) + 1):.1f}" fill="#ffffff">'
            f"{html.escape(text)}</text>"
        )
    width, height = (max(0.5, s - _GAP) for s in (box.width, box.height))
    return (
        f"<g><title>{name}: {size} bytes, {share}</title>"
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" fill="{fill}"/>{"".join(lines)}</g>'
    )


def _shortened(name: str, room: int) -> str:
    """Return a name with dots for its middle, if there is some room."""
    if len(name) <= room or room < _SHORTEST:
        return name
    half = (room - 1) // 2
    return f"{name[: room - 1 - half]}\u2026{name[-half:]}"


def _bytes(size: int, taken: Footprint) -> tuple[str, str]:
    return f"{size:,}", f"{size / taken.size:.1%}"
