"""Ways to prune, raced on the same network, batches and optimizer."""

import functools
from collections.abc import Iterable
from pathlib import Path

import keras

from kbp.benchmarks.core import file_race
from kbp.benchmarks.core.log import read_race
from kbp.benchmarks.pruning.methods import METHODS
from kbp.benchmarks.pruning.trial import Protocol, Trainer, Trial
from kbp.errors import check_known

RESULTS = Path(__file__).parent.parent / "results" / "pruning.jsonl"
read = functools.partial(read_race, protocol=Protocol)


def race(
    file: Path,
    *,
    protocol: Protocol | None = None,
    names: Iterable[str] | None = None,
    data_dir: str | Path | None = None,
    **options,
) -> list[dict]:
    """Train each method at each level with several seeds; time the networks.

    Args:
        file: JSON lines, see `kbp.benchmarks.core.file_race`.
        protocol: what all trainings have in common; by default `Protocol()`.
        names: of the methods that race now, by default all.
        data_dir: the folder that holds CIFAR-10.
        **options: `workers`, `rounds`, `again` and `console` of `file_race`.

    Returns:
        The trainings and measurements, all that the file holds.

    Raises:
        UserError: a name is unknown, the file is of another protocol, or the
            data set is missing.
    """
    protocol = protocol or Protocol()
    names = list(names or METHODS)
    check_known("method", names, METHODS)
    return file_race.race(
        file,
        protocol,
        [[trial for name in names for trial in trials(name, protocol)]],
        create=Trainer,
        data_dir=data_dir,
        describe=_describe,
        network=_network,
        **options,
    )


def trials(name: str, protocol: Protocol) -> list[Trial]:
    """Return the trials of a method."""
    levels = (0.0,) if name == "dense" else protocol.levels
    return [
        Trial(name, level, seed)
        for level in levels
        for seed in range(1, protocol.seeds + 1)
    ]


def _network(_, result):
    return keras.models.model_from_json(result["network"])


def _describe(result):
    return (
        f"{result['method']} {result['level']:g} {result['seed']}: "
        f"{result['accuracy']:.2%}, {result['pruned']:.1%} pruned"
    )
