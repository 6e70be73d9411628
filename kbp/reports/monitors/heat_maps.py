"""Heat maps of layers over steps, and what they warn of."""

import html
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from kbp._utils.style import INK, STYLE, as_svg
from kbp.diagnostics.rules import Rule, Watch, activation_rules, gradient_rules
from kbp.reports.monitors.figures_file import read_figures
from kbp.reports.pages import figure

# The figures that have a map, by their files, with the words for them.
_MAPS = {
    "gradients": {
        "gradient_norm": "norm of the gradient",
        "ratio": "gradient to weight",
    },
    "activations": {
        "zeros": "share of zeros",
        "dead": "share of dead ReLUs",
        "saturated": "share of saturated values",
        "effective_rank": "effective rank",
    },
}
_RULES: dict[str, Callable[..., dict[str, Rule]]] = {
    "gradients": gradient_rules,
    "activations": activation_rules,
}
_CAPTION = (
    "A line for each layer, the first on top: a line that differs from its "
    "neighbours, or changes on the way, shows where to look."
)
_LOGARITHMIC = ("gradient_norm", "ratio")
_SHARES = ("zeros", "dead", "saturated")


def sections(
    folder: Path,
    bounds: Mapping[str, Mapping[str, float]],
    others: Collection[str] = (),
) -> dict[str, str]:
    """Return the report's sections on what monitors found, as HTML.

    Args:
        folder: of the run, with the files of its monitors.
        bounds: of what they warn of, by the name of their file.
        others: stages that the report leaves out.
    """
    found = {}
    for name, maps in _MAPS.items():
        rows = [
            row
            for row in read_figures(folder / f"{name}.csv")
            if row["stage"] not in others
        ]
        if rows:
            said = _warnings(rows, Watch(_RULES[name](**bounds[name])))
            drawn = (heat_map(rows, *names) for names in maps.items())
            heading = f"{name.capitalize()} by layer"
            svg = "".join(x for x in drawn if x)
            found[heading] = said + figure(svg, _CAPTION)
    return found


def heat_map(rows: list[dict[str, Any]], kind: str, words: str) -> str | None:
    """Plot a figure of each layer, the first one on top, over the steps.

    Args:
        rows: as `read_figures` returns them, of one stage after the other.
        kind: its name.
        words: for it.

    Returns:
        SVG text, or `None` if no row has the figure.
    """
    rows = [row for row in rows if row[kind] is not None]
    layers = [*dict.fromkeys(row["layer"] for row in rows)]
    steps = [*dict.fromkeys((row["stage"], row["step"]) for row in rows)]
    values = np.full((len(layers), len(steps)), np.nan)
    places = {step: column for column, step in enumerate(steps)}
    lines = {layer: line for line, layer in enumerate(layers)}
    for row in rows:
        column = places[row["stage"], row["step"]]
        values[lines[row["layer"]], column] = row[kind]
    norm = _norm(kind, values)
    if norm is None:
        return None
    with matplotlib.rc_context(STYLE):
        drawn = Figure(
            figsize=(9, 0.9 + 0.22 * len(layers)), layout="constrained"
        )
        axes = drawn.subplots()
        image = axes.imshow(
            values, cmap="viridis", norm=norm, aspect="auto", rasterized=True
        )
        axes.set_yticks(range(len(layers)), layers)
        shown = np.unique(np.linspace(0, len(steps) - 1, 9).round().astype(int))
        axes.set_xticks(shown, [str(steps[column][1]) for column in shown])
        axes.set_xlabel("step")
        axes.tick_params(length=0)
        stages = [stage for stage, _ in steps]
        for column in range(1, len(steps)):
            if stages[column] != stages[column - 1]:
                axes.axvline(column - 0.5, color="white", linewidth=3)
                axes.set_title(f"then {stages[column]}", loc="right", color=INK)
        bar = drawn.colorbar(image, ax=axes, pad=0.01, format="%g")
        bar.ax.minorticks_off()
        bar.set_label(words)
        bar.outline.set_visible(False)
        return as_svg(drawn)


def _norm(kind: str, values: np.ndarray) -> Normalize | None:
    """Return the scale of a figure's colors, or `None` without values."""
    finite = values[np.isfinite(values)]
    if kind in _LOGARITHMIC:
        finite = finite[finite > 0]
    if not finite.size:
        return None
    if kind in _SHARES:
        return Normalize(0, 1)
    scale = LogNorm if kind in _LOGARITHMIC else Normalize
    return scale(finite.min(), finite.max())


def _warnings(rows: list[dict[str, Any]], watch: Watch) -> str:
    """Return paragraphs of what is to be warned of, stage by stage."""
    said = []
    for stage in dict.fromkeys(row["stage"] for row in rows):
        own = Watch(watch.rules)
        own.look_back([row for row in rows if row["stage"] == stage])
        said += [f"{stage}: {sentence}" for sentence in own.warnings]
    return "".join(f"<p>{html.escape(sentence)}</p>" for sentence in said)
