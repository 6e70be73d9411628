"""What monitors warn of, by the figures of one step."""

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

# The figures of a layer at a step, with its name and the step.
Row = dict[str, Any]
# Looks at the rows of one step, and says what is wrong with them, if it is.
Rule = Callable[[list[Row]], str | None]


class Watch:
    """Warns of each thing once, until it is over.

    Args:
        rules: what to warn of, by name.

    Attributes:
        warnings: sentences.
    """

    def __init__(self, rules: Mapping[str, Rule]):
        self.rules = rules
        self.warnings: list[str] = []
        self.active: set[str] = set()

    def look(self, rows: list[Row]) -> list[str]:
        """Return the new warnings of the rows of a step."""
        found = {name: rule(rows) for name, rule in self.rules.items()}
        said = {name: sentence for name, sentence in found.items() if sentence}
        new = [x for name, x in said.items() if name not in self.active]
        self.active = {*said}
        self.warnings += new
        return new

    def look_back(self, rows: list[Row]) -> None:
        """Look at the rows of many steps, one step after the other."""
        for _, step in itertools.groupby(rows, lambda row: row["step"]):
            self.look([*step])


def gradient_rules(vanishing: float, exploding: float) -> dict[str, Rule]:
    """Return the rules of `GradientMonitor`."""
    return {
        "vanishing": functools.partial(_vanishing, vanishing),
        "exploding": functools.partial(_exploding, exploding),
        "not finite": functools.partial(_not_finite, "Gradients", -1),
    }


def activation_rules(dead: float, saturated: float) -> dict[str, Rule]:
    """Return the rules of `ActivationMonitor`."""
    zero = "of the ReLUs of layer {} are 0 for all examples of the probe"
    ends = "of the values of layer {} are at the ends of their range"
    return {
        "dead": functools.partial(_many, "dead", dead, zero),
        "saturated": functools.partial(_many, "saturated", saturated, ends),
        "not finite": functools.partial(_not_finite, "Outputs", 0),
    }


def _vanishing(bound: float, rows: list[Row]) -> str | None:
    first, last = rows[0], rows[-1]
    norms = first["gradient_norm"], last["gradient_norm"]
    if not norms[0] < bound * norms[1]:
        return None
    return (
        f"Gradients vanish with depth: at step {first['step']} that of layer "
        f"{first['layer']}, the first of {len(rows)}, is "
        f"{norms[0] / norms[1]:.1e} times as long as that of layer "
        f"{last['layer']}, the last."
    )


def _exploding(bound: float, rows: list[Row]) -> str | None:
    gradients, weights = (
        math.hypot(*(row[key] for row in rows))
        for key in ("gradient_norm", "weight_norm")
    )
    if not gradients > bound * weights:
        return None
    longest = max(rows, key=lambda row: cast(float, row["gradient_norm"]))
    ratio = gradients / weights if weights else math.inf
    return (
        f"Gradients explode: at step {longest['step']} they are {ratio:.3g} "
        f"times as long as the weights, the longest in layer "
        f"{longest['layer']}."
    )


def _not_finite(what: str, place: int, rows: list[Row]) -> str | None:
    """Name the layer where values are first not finite.

    Args:
        what: is measured.
        place: of that layer among those with such values: the last of
            gradients, which go from the end to the start.
        rows: of a step.
    """
    bad = [row for row in rows if row["not_finite"]]
    if not bad:
        return None
    row = bad[place]
    return (
        f"{what} are not finite at step {row['step']}: "
        f"{row['not_finite']:.2%} of those of layer {row['layer']}"
        f"{_others(bad)}."
    )


def _many(figure: str, bound: float, words: str, rows: list[Row]) -> str | None:
    """Name the layer where a share is largest, if it is much.

    Args:
        figure: name of the share.
        bound: that it must exceed.
        words: of the sentence, with a place for the layer's name.
        rows: of a step.
    """
    bad = [row for row in rows if (row[figure] or 0) > bound]
    if not bad:
        return None
    row = max(bad, key=lambda row: cast(float, row[figure]))
    return (
        f"{figure.capitalize()} units: at step {row['step']} "
        f"{row[figure]:.0%} {words.format(row['layer'])}{_others(bad)}."
    )


def _others(rows: list[Row]) -> str:
    """Say how many layers there are besides the one that is named."""
    more = len(rows) - 1
    return f", and in {more} other layer{'s' * (more > 1)}" if more else ""
