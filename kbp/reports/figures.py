"""Figures of a run, as SVG text."""

from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kbp._utils.style import COLORS, INK, STYLE, as_svg
from kbp.data import Examples
from kbp.data.lazy import ranges
from kbp.data.splits import as_floats

CONFUSION = "Confusion matrix of the int8 file"
HOW_TO_READ_CONFUSION = (
    "Each row holds the examples of a class; those beside the diagonal were "
    "taken for another one."
)


def learning_curves(rows: Sequence[dict[str, str]], metric: str) -> str | None:
    """Plot loss, metric and learning rate over the epochs of all stages.

    Args:
        rows: of the metrics file, one for each epoch.
        metric: name of the score; its column is named so in lower case.

    Returns:
        SVG text, or `None` without epochs.
    """
    if not rows:
        return None
    key = metric.lower()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 2.9), layout="constrained")
        panels = {
            "loss": ("loss", "val_loss"),
            metric: (key, f"val_{key}"),
            "learning rate": ("learning_rate",),
        }
        # A task's metric may be none that `fit` follows.
        panels = {
            title: keys
            for title, keys in panels.items()
            if any(row.get(key, "nan") != "nan" for row in rows for key in keys)
        }
        epochs = np.arange(1, len(rows) + 1)
        border = sum(row["stage"] != "quantize" for row in rows) + 0.5
        for axes, (title, keys) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0],
            panels.items(),
            strict=True,
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


def sparsity_by_layer(rows: Sequence[dict[str, str]]) -> str | None:
    """Plot the pruned share of each masked layer, epoch by epoch."""
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
        bar.set_label("share pruned")
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


def draw_image(axes: Axes, values: np.ndarray) -> None:
    """Draw an image of 0 to 1."""
    axes.imshow(values.squeeze(), cmap="gray", vmin=0, vmax=1)


def draw_sequence(axes: Axes, values: np.ndarray) -> None:
    """Draw a sequence `(time, channels)`, the time from left to right."""
    axes.imshow(values.T, cmap="gray_r", aspect="auto", interpolation="nearest")


def sample_predictions(
    examples: Examples,
    shares: np.ndarray,
    names: Sequence[str],
    *,
    count: int = 16,
    draw: Callable[[Axes, np.ndarray], None] = draw_image,
) -> str:
    """Plot test examples with predictions, the wrong ones first.

    Args:
        examples: of the test.
        shares: probabilities of each one's classes.
        names: of the classes.
        count: examples to show at most.
        draw: `draw(axes, values)` draws an example.
    """
    predicted = np.argmax(shares, axis=-1)
    wrong = predicted != examples.labels
    order = np.argsort(~wrong, kind="stable")[:count]
    confidence = shares.max(axis=-1)
    columns = 8
    rows = max(1, -(-len(order) // columns))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 1.45 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, index in zip(grid, order, strict=False):
            draw(axes, as_floats(examples.inputs[index]))
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
    wrong = np.concatenate(
        [
            (predicted[part] != examples.labels[part]).mean(axis=(1, 2))
            for part in ranges(examples.labels)
        ]
    )
    order = np.argsort(-wrong, kind="stable")[:count]
    columns = 4
    rows = -(-len(order) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 2.4 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, index in zip(grid, order, strict=False):
            image = as_floats(examples.inputs[index]).squeeze()
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
