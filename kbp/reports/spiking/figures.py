"""Figures of spiking networks, as SVG text."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kbp._utils.style import COLORS, INK, STYLE, as_svg

_MOST = 200  # neurons of a layer that are shown


def scores_over_time(
    scores: Sequence[float],
    metric: str,
    source: float | None = None,
    settled: int | None = None,
) -> str:
    """Plot the score after each time step.

    Args:
        scores: after 1, 2, ... steps.
        metric: name of the score.
        source: score of the network that it was made of.
        settled: the step from which on the score is near the last one.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 2.9), layout="constrained")
        axes = figure.subplots()
        steps = np.arange(1, len(scores) + 1)
        axes.plot(steps, scores, color=COLORS[0], marker=".", label="spiking")
        if source is not None:
            axes.axhline(source, color=COLORS[1], linewidth=1, label="source")
        if settled is not None:
            axes.axvline(settled, color=INK, linewidth=0.8, linestyle=":")
        axes.set_xlabel("time steps")
        axes.set_ylabel(metric)
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)
        return as_svg(figure)


def raster_plot(spikes: Mapping[str, np.ndarray]) -> str:
    """Plot when neurons fire, layer by layer.

    Args:
        spikes: of `kbp.spiking.raster`.
    """
    with matplotlib.rc_context(STYLE):
        height = 0.6 + 1.3 * len(spikes)
        figure = Figure(figsize=(9, height), layout="constrained")
        panels = figure.subplots(len(spikes), 1, squeeze=False, sharex=True)
        for axes, (name, fired) in zip(
            panels[:, 0], spikes.items(), strict=True
        ):
            time, neurons = fired.shape
            count = min(neurons, _MOST)
            chosen = np.linspace(0, neurons - 1, count).astype(int)
            step, neuron = np.nonzero(fired[:, chosen])
            lines = axes.vlines(
                step + 1, neuron - 0.5, neuron + 0.5, color=INK, linewidth=1.2
            )
            lines.set_rasterized(True)  # they are thousands
            axes.set_xlim(0.5, time + 0.5)
            axes.set_ylim(-0.5, count - 0.5)
            shown = f"{count} of {neurons:,}" if count < neurons else neurons
            axes.set_title(f"{name} ({shown} neurons)", loc="left")
            axes.set_yticks([])
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[-1, 0].set_xlabel("time step")
        return as_svg(figure)
