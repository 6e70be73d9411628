"""The page of a spiking network."""

from dataclasses import dataclass

import numpy as np

from kbp.reports.pages import figure, html_table, own_table, page
from kbp.reports.result_table import ResultTable
from kbp.reports.spiking import figures
from kbp.spiking.cost import ADD, MULTIPLY_ADD, Cost
from kbp.tasks.registry import format_score

NEAR = 0.01  # of the last score


@dataclass(frozen=True)
class SpikingFile:
    """A file of a spiking network.

    Attributes:
        name: of it.
        size: in bytes.
        accuracy: on the examples that files are compared on, if there are any.
        same: share of examples that it gives the Keras model's class for;
            `None` of that model itself.
        largest: the largest difference from its outputs.
    """

    name: str
    size: int
    accuracy: float | None = None
    same: float | None = None
    largest: float | None = None


@dataclass(frozen=True)
class Spiking:
    """What was measured of a spiking network.

    Attributes:
        title: of the page.
        metric: name of the score.
        scores: after each time step.
        source: score of the network that it was made of, if there is one.
        cost: of an answer.
        files: that were written.
        compared: on how many test examples they were compared.
        made: how it was made, in a sentence.
    """

    title: str
    metric: str
    scores: tuple[float, ...]
    source: float | None
    cost: Cost
    files: tuple[SpikingFile, ...]
    compared: int
    made: str

    @property
    def settled(self) -> int:
        """The step from which on the score is within `NEAR` of the last one."""
        far = np.abs(np.subtract(self.scores, self.scores[-1])) > NEAR
        return int(np.flatnonzero(far)[-1]) + 2 if far.any() else 1

    def said(self) -> str:
        """Return the result in a few lines."""
        last = format_score(self.metric, self.scores[-1])
        source = ""
        if self.source is not None:
            whole = format_score(self.metric, self.source)
            gap = 100 * (self.scores[-1] - self.source)
            source = f" (source network: {whole}; {gap:+.2f} points)"
        energy = f"{1e6 * self.cost.energy:.3g} \N{MICRO SIGN}J"
        if self.source is not None:
            dense = 1e6 * self.cost.dense_energy
            energy += (
                ", where the same network without spikes takes "
                f"{dense:.3g} \N{MICRO SIGN}J"
            )
        return (
            f"{self.made}\n"
            f"{self.metric} after {len(self.scores)} time steps: {last}"
            f"{source}.\n"
            f"Latency: {self.settled} steps, from which on the {self.metric} "
            f"is within {100 * NEAR:.0f} point of the last.\n"
            f"An answer takes {self.cost.total('spikes'):,.0f} spikes, "
            f"{self.cost.total('synaptic_operations'):,.0f} additions and "
            f"{self.cost.total('multiply_adds'):,.0f} multiply-adds: "
            f"{energy}."
        )

    def table(self) -> ResultTable:
        """Return what each layer costs."""
        rows = []
        for layer in self.cost.layers:
            energy = MULTIPLY_ADD * layer.multiply_adds
            energy += ADD * layer.synaptic_operations
            neurons = layer.neurons
            rate = ""
            if neurons:
                rate = f"{layer.spikes / neurons / self.cost.timesteps:.3f}"
            figures_of = (
                neurons,
                layer.spikes,
                layer.synaptic_operations,
                layer.multiply_adds,
                layer.dense_multiply_adds,
            )
            cells = [f"{x:,.0f}" if x else "" for x in figures_of]
            joules = f"{1e6 * energy:.3g}" if energy else ""
            rows.append((layer.name, *cells[:2], rate, *cells[2:], joules))
        names = (
            *("spikes", "synaptic_operations", "multiply_adds"),
            "dense_multiply_adds",
        )
        spikes, *others = (f"{self.cost.total(name):,.0f}" for name in names)
        neurons = sum(layer.neurons for layer in self.cost.layers)
        joules = f"{1e6 * self.cost.energy:.3g}"
        rows.append(("all", f"{neurons:,}", spikes, "", *others, joules))
        return ResultTable(
            (
                *("layer", "neurons", "spikes", "rate", "additions"),
                *("multiply-adds", "dense", "\N{MICRO SIGN}J"),
            ),
            tuple(rows),
            f"For one example, in the mean of {self.cost.examples:,} from all "
            "over the test split. Rate: spikes of a neuron in a time step; "
            "additions: of a weight for each spike; dense: multiply-adds of "
            "the layer in the same network without spikes, which gets its "
            "inputs once. "
            f"Energy: {MULTIPLY_ADD * 1e12:.1f} pJ a multiply-add and "
            f"{ADD * 1e12:.1f} pJ an addition in float32 at 45 nm (Horowitz, "
            "2014), without memory and without neurons that wait.",
        )

    def html(self, spikes: dict[str, np.ndarray]) -> str:
        """Return the page.

        Args:
            spikes: of `kbp.spiking.raster`.
        """
        rows = [
            (
                file.name,
                f"{file.size / 1e3:,.0f} kB",
                "" if file.accuracy is None else f"{file.accuracy:.2%}",
                "" if file.same is None else f"{file.same:.2%}",
                "" if file.largest is None else f"{file.largest:.3g}",
            )
            for file in self.files
        ]
        accuracy = "accuracy"
        if self.compared:
            accuracy += f" on {self.compared:,} test examples"
        sections = {
            f"{self.metric} over time": figure(
                figures.scores_over_time(
                    self.scores, self.metric, self.source, self.settled
                ),
                "The score had the network stopped after each step; from the "
                f"dotted line on it is within {100 * NEAR:.0f} point of the "
                "last.",
            ),
            "What an answer costs": own_table(self.table()),
            "Spikes of a test example": figure(
                figures.raster_plot(spikes),
                "A line for each neuron, a mark for each of its spikes.",
            ),
            "Files": html_table(
                (
                    *("file", "size", accuracy),
                    *("same class", "largest difference"),
                ),
                rows,
            ),
        }
        return page(self.title, self.said(), sections)
