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
        seeds: of the trainings of one run, none of which is another run's.
    """

    title: str
    settings: tuple[str, ...] = ()
    seeds: int = 1


TECHNIQUES: Registry[Technique] = Registry(
    "technique", "kbp.benchmarks.techniques.rows"
)
