"""Techniques by name."""

from dataclasses import dataclass

from kbp._utils.registry import Registry

PLAIN = "plain"  # what the others are compared with


@dataclass(frozen=True)
class Technique:
    """What a recipe is changed by.

    Attributes:
        title: in tables.
        settings: of a recipe, as `kbp train --set` takes them.
    """

    title: str
    settings: tuple[str, ...] = ()


TECHNIQUES: Registry[Technique] = Registry(
    "technique", "kbp.benchmarks.techniques.rows"
)
