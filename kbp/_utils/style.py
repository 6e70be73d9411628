"""How figures look, and their SVG text."""

import io
from typing import Any

from matplotlib.figure import Figure

INK, GRID = "#334155", "#e2e8f0"
COLORS = ("#2563eb", "#ea580c", "#16a34a", "#9333ea")
# Its type would name all that matplotlib knows.
STYLE: Any = {
    "font.size": 9,
    "text.parse_math": False,  # a column may be named "US$"
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "svg.fonttype": "none",
    "svg.hashsalt": "kbp",
}


def as_svg(figure: Figure) -> str:
    """Return a figure as SVG text."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=144, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
