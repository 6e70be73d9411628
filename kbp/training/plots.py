"""Figures of a run, as SVG text."""

import io
import itertools
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from scipy import special

from kbp.data import Examples

INK, GRID = "#334155", "#e2e8f0"
COLORS = ("#2563eb", "#ea580c", "#16a34a")
STYLE = {
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


def learning_curves(rows: Sequence[dict], metric: str) -> str:
    """Plot loss, metric and learning rate over the epochs of all stages."""
    key = metric.lower()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 2.9), layout="constrained")
        panels = {
            "loss": ("loss", "val_loss"),
            metric: (key, f"val_{key}"),
            "learning rate": ("learning_rate",),
        }
        epochs = np.arange(1, len(rows) + 1)
        border = sum(row["stage"] == "train" for row in rows) + 0.5
        for axes, (title, keys) in zip(
            figure.subplots(1, 3), panels.items(), strict=True
        ):
            for key, color in zip(keys, COLORS, strict=False):
                values = [float(row.get(key, "nan")) for row in rows]
                if not np.isnan(values).all():
                    label = "validation" if key[:4] == "val_" else "training"
                    axes.plot(
                        epochs, values, color=color, marker=".", label=label
                    )
            if border < len(rows):
                axes.axvline(border, color=INK, linewidth=0.8, linestyle=":")
                axes.annotate(
                    "8 bits",
                    (border, 0.5),
                    xycoords=("data", "axes fraction"),
                    xytext=(3, 0),
                    textcoords="offset points",
                    va="top",
                    fontsize=8,
                )
            axes.set_title(title, loc="left")
            axes.set_xlabel("epoch")
            axes.grid(axis="y")
            axes.xaxis.get_major_locator().set_params(integer=True)
            if len(keys) > 1:
                axes.legend(frameon=False)
        return as_svg(figure)


def accuracy_by_step(
    curves: dict[str, Sequence[Sequence[float]]],
    *,
    every: int,
    target: float,
    emphasized: Sequence[str],
) -> str:
    """Plot the median accuracy of several trainings of each optimizer.

    Args:
        curves: for each name, the accuracies of each training.
        every: steps between two of them.
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


def accuracy_by_level(
    panels: dict[str, dict[str, dict[float, Sequence[float]]]],
    *,
    baseline: Sequence[float],
    emphasized: Sequence[str],
) -> str:
    """Plot the mean accuracy of pruned networks, with standard deviations.

    Args:
        panels: for each title, each method and each share that is pruned, the
            accuracies of several trainings.
        baseline: those of the network that is not pruned.
        emphasized: methods drawn in color; the others are grey.
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
            if baseline:
                look = {"color": INK, "linewidth": 0.8, "linestyle": ":"}
                axes.axhline(np.mean(baseline), label="dense", **look)
            axes.set_title(f"accuracy over {title}", loc="left")
            axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
            axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
            axes.grid(axis="y")
            axes.legend(frameon=False)
        return as_svg(figure)


def score_over_cost(
    panels: dict[str, dict[str, tuple[float, Sequence[float]]]],
    *,
    score: str,
    cost: str,
    emphasized: Sequence[str],
) -> str:
    """Plot scores of networks, with standard deviations, over what they cost.

    Args:
        panels: for each title and each method the cost, or its opposite, and
            the scores of several trainings.
        score: what the scores are.
        cost: what the cost is.
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
    """Plot the mean error of forecasts over how far they look ahead.

    Args:
        panels: for each title, each method and each horizon, the errors of
            several trainings.
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


def sparsity_by_layer(rows: Sequence[dict]) -> str | None:
    """Plot the share of zeros of each masked layer, epoch by epoch."""
    layers = [k for k in rows[0] if k.startswith("sparsity/")] if rows else []
    rows = [row for row in rows if all(k in row for k in layers)]
    if not layers:
        return None
    shares = np.array([[float(row[k]) for row in rows] for k in layers])
    with matplotlib.rc_context(STYLE):
        height = 0.9 + 0.22 * len(layers)
        figure = Figure(figsize=(9, height), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        names = [key.removeprefix("sparsity/") for key in layers]
        axes.set_yticks(range(len(layers)), names)
        axes.set_xticks(range(len(rows)), [row["epoch"] for row in rows])
        axes.set_xlabel("epoch")
        axes.tick_params(length=0)
        for row, share in enumerate(shares[:, -1]):
            axes.text(
                len(rows) - 1,
                row,
                f"{share:.0%}",
                ha="center",
                va="center",
                color="white" if share > 0.5 else INK,
                fontsize=8,
            )
        bar = figure.colorbar(image, ax=axes, pad=0.01)
        bar.set_label("share of zeros")
        bar.outline.set_visible(False)
        return as_svg(figure)


def confusion_matrix(
    predicted: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> str:
    """Plot how often each class was taken for each."""
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (labels, predicted), 1)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 4.4), layout="constrained")
        axes = figure.subplots()
        axes.imshow(np.sqrt(counts), cmap="Blues")
        for (row, column), count in np.ndenumerate(counts):
            if count:
                dark = count > counts.max() / 2
                axes.text(
                    column,
                    row,
                    count,
                    ha="center",
                    va="center",
                    color="white" if dark else INK,
                    fontsize=8,
                )
        rotation = 0 if max(map(len, names)) < 3 else 60
        axes.set_xticks(range(len(names)), names, rotation=rotation)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.tick_params(length=0)
        return as_svg(figure)


def sample_predictions(
    examples: Examples,
    logits: np.ndarray,
    names: Sequence[str],
    *,
    count: int = 16,
) -> str:
    """Plot test examples with predictions, the wrong ones first."""
    predicted = np.argmax(logits, axis=-1)
    wrong = predicted != examples.labels
    order = np.argsort(~wrong, kind="stable")[:count]
    confidence = special.softmax(logits, axis=-1).max(axis=-1)
    columns = 8
    rows = max(1, -(-len(order) // columns))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 1.45 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, index in zip(grid, order, strict=False):
            image = examples.inputs[index]
            axes.imshow(image.squeeze(), cmap="gray_r", vmin=0, vmax=1)
            title = f"{names[predicted[index]]} ({confidence[index]:.0%})"
            if wrong[index]:
                title += f"\nis {names[examples.labels[index]]}"
            axes.set_title(
                title, fontsize=8, color="#dc2626" if wrong[index] else INK
            )
        return as_svg(figure)


def sample_masks(
    examples: Examples, predicted: np.ndarray, *, count: int = 8
) -> str:
    """Plot test images with true and predicted outlines, the worst first."""
    wrong = (predicted != examples.labels).mean(axis=(1, 2))
    order = np.argsort(-wrong, kind="stable")[:count]
    columns = 4
    rows = -(-len(order) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 2.4 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, index in zip(grid, order, strict=False):
            image = examples.inputs[index].squeeze()
            axes.imshow(image, cmap="gray", vmin=0, vmax=1)
            for masks, color in zip(
                (examples.labels[index], predicted[index]), COLORS, strict=False
            ):
                for value in np.unique(masks[masks > 0]):
                    lines = axes.contour(
                        masks == value, [0.5], colors=color, linewidths=0.7
                    )
                    lines.set_rasterized(True)  # they are thousands of curves
            axes.set_title(f"{wrong[index]:.1%} of the pixels", fontsize=8)
        handles = [
            Line2D([], [], color=color, label=label)
            for color, label in zip(COLORS, ("true", "predicted"), strict=False)
        ]
        figure.legend(handles=handles, loc="outside lower left", frameon=False)
        return as_svg(figure)


def _deviation(values):
    return np.std(values, ddof=1) if len(values) > 1 else 0.0


def as_svg(figure: Figure) -> str:
    """Return a figure as SVG text."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=144, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
