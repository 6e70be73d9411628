"""Figures of forecasts, as SVG text."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kbp._utils.style import COLORS, INK, STYLE, as_svg
from kbp.data.series import SeriesSplits
from kbp.tasks.forecasts.intervals import FLOOR, Intervals


def sample_forecasts(
    splits: SeriesSplits,
    outputs: np.ndarray,
    intervals: Intervals | None = None,
    *,
    channels: int = 2,
) -> str:
    """Plot forecasts of test windows: a good, a usual and a bad one.

    They are the windows with a tenth, half and nine tenths of the others'
    errors below their own.

    Args:
        splits: a series.
        outputs: forecasts for the test windows, standardized.
        intervals: prediction intervals to shade, if there are any.
        channels: how many to plot, the last ones.
    """
    test = splits.test
    past, labels = test.past, test.labels
    levels = [
        np.broadcast_to(x, (len(labels), 1, len(splits.names)))
        for x in splits.level("test")
    ]
    errors = np.array(
        [
            np.mean(np.square(output - label))
            for output, label in zip(outputs, labels, strict=True)
        ]
    )
    order = np.argsort(errors, kind="stable")
    chosen = [order[int(part * (len(order) - 1))] for part in (0.1, 0.5, 0.9)]
    places = range(len(splits.names))[-channels:]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 2.1 * len(places)), layout="constrained")
        grid = figure.subplots(len(places), len(chosen), squeeze=False)
        for row, place in zip(grid, places, strict=True):
            for axes, index in zip(row, chosen, strict=True):
                axes.set_title(
                    f"{splits.names[place]}; window of MSE {errors[index]:.2f}",
                    loc="left",
                )
                mean, scale = (x[index, 0, place] for x in levels)
                known, forecast, future = (
                    x[index][:, place] * scale + mean
                    for x in (past, outputs, labels)
                )
                half = None
                if intervals:
                    spread = intervals.deviations(
                        past[index : index + 1], FLOOR
                    )
                    half = spread[0] * intervals.widths
                    half = half[..., place] * scale
                draw(axes, known, forecast, future, half)
        _legend(figure, grid[0, 0])
        return as_svg(figure)


def draw(
    axes: Axes,
    past: np.ndarray,
    forecast: np.ndarray,
    future: np.ndarray | None = None,
    half_widths: np.ndarray | None = None,
) -> None:
    """Plot the end of a window, what was forecast, and what came.

    Args:
        axes: where to plot.
        past: values of one channel, `(time,)`.
        forecast: `(horizon,)`.
        future: what came, `(horizon,)`, if that is known.
        half_widths: of prediction intervals, `(levels, horizon)`, if there are
            any.
    """
    past = past[-2 * len(forecast) :]
    steps = np.arange(1, len(forecast) + 1)
    axes.plot(np.arange(1 - len(past), 1), past, color=INK, label="known")
    if future is not None:
        axes.plot(steps, future, color=INK, alpha=0.5, label="came")
    axes.plot(steps, forecast, color=COLORS[1], label="forecast")
    for half in () if half_widths is None else half_widths:
        axes.fill_between(
            steps,
            forecast - half,
            forecast + half,
            color=COLORS[1],
            alpha=0.15,
            linewidth=0,
        )
    axes.grid(axis="y")
    axes.set_xlabel("rows after the last that is known")


def whole_forecast(
    past: np.ndarray,
    forecast: np.ndarray,
    names: Sequence[str],
    half_widths: np.ndarray | None = None,
) -> str:
    """Plot the forecast of each channel behind the end of what is known.

    Args:
        past: `(time, channels)`.
        forecast: `(horizon, channels)`.
        names: of the channels.
        half_widths: of prediction intervals, `(levels, horizon, channels)`, if
            there are any.
    """
    columns = 1 if len(names) == 1 else 2
    rows = -(-len(names) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 1.9 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid[len(names) :]:
            axes.set_axis_off()
        for place, name in enumerate(names):
            grid[place].set_title(name, loc="left")
            half = None if half_widths is None else half_widths[..., place]
            draw(
                grid[place],
                past[:, place],
                forecast[:, place],
                half_widths=half,
            )
        _legend(figure, grid[0])
        return as_svg(figure)


def _legend(figure: Figure, axes: Axes) -> None:
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower left",
        ncols=3,
        frameon=False,
    )
