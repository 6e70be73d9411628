"""Figures of races, as SVG text."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from kbp._utils import style
from kbp._utils.style import COLORS, INK, as_svg

STYLE: dict[Any, Any] = {**style.STYLE}


def accuracy_by_step(
    curves: dict[str, Sequence[Sequence[float]]],
    *,
    every: int,
    target: float,
    emphasized: Sequence[str],
) -> str:
    """Plot the median accuracy of each optimizer over the steps.

    Args:
        curves: for each name, the accuracies over the steps of each seed.
        every: number of steps between two of them.
        target: a line is drawn there.
        emphasized: names drawn in color; the others are grey.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        axes = figure.subplots()
        colors = iter(COLORS)
        styles = itertools.cycle(("-", "--", ":", "-."))
        for name, runs in curves.items():
            length = min(map(len, runs))
            median = np.median([run[:length] for run in runs], axis=0)
            steps = every * np.arange(1, length + 1)
            look = (
                {"color": next(colors), "linewidth": 2.2, "zorder": 3}
                if name in emphasized
                else {"color": "#94a3b8", "linestyle": next(styles)}
            )
            axes.plot(steps, median, label=name, **look)
        axes.axhline(target, color=INK, linewidth=0.8, linestyle=":")
        axes.set_title("accuracy, median of the seeds", loc="left")
        axes.set_xlabel("step")
        axes.grid(axis="y")
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return as_svg(figure)


def scores_by_step(
    panels: dict[str, tuple[int, float, dict[str, Sequence[Sequence[float]]]]],
    *,
    emphasized: Sequence[str],
) -> str:
    """Plot the median score of each optimizer over the steps of each task.

    Args:
        panels: for each title the steps between two scores, the score to
            reach, and for each optimizer the scores of each seed.
        emphasized: names drawn in color; the others are grey.
    """
    with matplotlib.rc_context(STYLE):
        rows = max(1, -(-len(panels) // 3))
        figure = Figure(figsize=(9, 2.8 * rows + 0.6), layout="constrained")
        grid = figure.subplots(rows, 3, squeeze=False).ravel()
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        looks: dict[str, dict] = {}  # of an optimizer, the same in all panels
        colors = itertools.cycle(COLORS)
        styles = itertools.cycle(("-", "--", ":", "-."))
        for axes, (title, panel) in zip(grid, panels.items(), strict=False):
            every, target, curves = panel
            for name, runs in curves.items():
                label = None if name in looks else name  # once in the legend
                if label:
                    looks[name] = (
                        {"color": next(colors), "linewidth": 2.2, "zorder": 3}
                        if name in emphasized
                        else {"color": "#94a3b8", "linestyle": next(styles)}
                    )
                length = min(map(len, runs))
                median = np.median([run[:length] for run in runs], axis=0)
                steps = every * np.arange(1, length + 1)
                axes.plot(steps, median, label=label, **looks[name])
            axes.axhline(target, color=INK, linewidth=0.8, linestyle=":")
            axes.set_title(title, loc="left")
            axes.set_xlabel("step")
            axes.grid(axis="y")
        if looks:
            figure.legend(loc="outside lower center", ncols=4, frameon=False)
        return as_svg(figure)


def accuracy_by_level(
    panels: dict[str, dict[str, dict[float, Sequence[float]]]],
    *,
    baselines: Mapping[str, Sequence[float]],
    emphasized: Sequence[str],
    shares: bool = True,
) -> str:
    """Plot the mean accuracy of pruned networks, with standard deviations.

    Args:
        panels: for each title, each method and each level, the accuracies of
            several seeds.
        baselines: for each title, if they are known, the accuracies of the
            network that is not pruned.
        emphasized: methods drawn in color; the others are grey.
        shares: whether levels are shares that are pruned, else plain numbers.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        for axes, (title, methods) in zip(
            figure.subplots(1, len(panels), sharey=True),
            panels.items(),
            strict=True,
        ):
            styles = {
                ours: itertools.cycle(("-", "--", ":", "-."))
                for ours in (True, False)
            }
            for name, levels in methods.items():
                ours = name in emphasized
                look = (
                    {"color": COLORS[0], "linewidth": 2.2, "zorder": 3}
                    if ours
                    else {"color": "#94a3b8"}
                )
                axes.errorbar(
                    list(levels),
                    [np.mean(values) for values in levels.values()],
                    [_deviation(values) for values in levels.values()],
                    capsize=2,
                    label=name,
                    linestyle=next(styles[ours]),
                    **look,
                )
            baseline = baselines.get(title, ())
            if baseline:
                look = {"color": INK, "linewidth": 0.8, "linestyle": ":"}
                axes.axhline(np.mean(baseline), label="dense", **look)
            axes.set_title(f"accuracy over {title}", loc="left")
            if shares:
                axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
            axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
            axes.grid(axis="y")
            if methods or baseline:
                axes.legend(frameon=False)
        return as_svg(figure)


def score_over_cost(
    panels: dict[str, dict[str, tuple[float, Sequence[float]]]],
    *,
    score: str,
    cost: str,
    emphasized: Sequence[str],
) -> str:
    """Plot the scores of networks, with standard deviations, over their cost.

    Args:
        panels: for each title and each method the cost, or its opposite, and
            the scores of several seeds.
        score: the name of the score.
        cost: the name of the cost.
        emphasized: methods drawn in color; the others are grey.
    """
    with matplotlib.rc_context(STYLE):
        rows = 1 + (len(panels) > 2)
        figure = Figure(figsize=(9, 2.8 * rows), layout="constrained")
        columns = max(1, -(-len(panels) // rows))
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        for axes, (title, methods) in zip(grid, panels.items(), strict=False):
            markers = {
                True: itertools.cycle("oD^"),
                False: itertools.cycle("svPX"),
            }
            for name, (place, values) in methods.items():
                ours = name in emphasized
                axes.errorbar(
                    place,
                    np.mean(values),
                    _deviation(values),
                    capsize=2,
                    label=name,
                    linestyle="none",
                    marker=next(markers[ours]),
                    color=COLORS[0] if ours else "#94a3b8",
                    zorder=3 if ours else 2,
                )
            axes.set_title(f"{title}: {score} over {cost}", loc="left")
            axes.yaxis.set_major_formatter(PercentFormatter(1, 1))
            axes.grid(axis="y")
            axes.legend(frameon=False)
        return as_svg(figure)


def error_by_horizon(
    panels: dict[str, dict[str, dict[int, Sequence[float]]]],
    *,
    emphasized: Sequence[str],
) -> str:
    """Plot the mean error of forecasts over the horizon.

    Args:
        panels: for each title, each method and each horizon, the errors of
            several seeds.
        emphasized: methods drawn in color; the others are grey.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        colors = itertools.cycle(COLORS)
        styles = itertools.cycle(("-", "--", ":", "-."))
        looks: dict[str, dict] = {}  # of a method, the same in all panels
        for axes, (title, methods) in zip(grid, panels.items(), strict=True):
            for name, horizons in methods.items():
                label = None if name in looks else name  # once in the legend
                if label:
                    looks[name] = (
                        {"color": next(colors), "zorder": 3}
                        if name in emphasized
                        else {"color": "#94a3b8", "linestyle": next(styles)}
                    )
                axes.errorbar(
                    list(horizons),
                    [np.mean(values) for values in horizons.values()],
                    [_deviation(values) for values in horizons.values()],
                    capsize=2,
                    label=label,
                    **looks[name],
                )
            axes.set_title(f"{title}: MSE over horizon", loc="left")
            axes.grid(axis="y")
        if looks:
            figure.legend(loc="outside lower center", ncols=3, frameon=False)
        return as_svg(figure)


def _deviation(values):
    return np.std(values, ddof=1) if len(values) > 1 else 0.0
