"""Figures of numbers, as SVG text."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from kbp._utils.style import COLORS, INK, STYLE, as_svg


def predicted_against_true(
    predicted: np.ndarray, true: np.ndarray, name: str, *, most: int = 2000
) -> str:
    """Plot a point for each row, which lies on the diagonal if it is right.

    Args:
        predicted: `(rows,)`.
        true: `(rows,)`.
        name: of the numbers.
        most: number of rows to plot, the first ones.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 4.4), layout="constrained")
        axes = figure.subplots()
        low, high = np.min([predicted, true]), np.max([predicted, true])
        axes.plot([low, high], [low, high], color=INK, linewidth=0.8)
        axes.scatter(
            true[:most], predicted[:most], s=8, color=COLORS[0], alpha=0.5
        )
        axes.set_xlabel(f"true {name}")
        axes.set_ylabel("predicted")
        axes.grid()
        return as_svg(figure)
