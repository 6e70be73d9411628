"""Networks that label pixels, raced under one recipe."""

import functools
import statistics
from collections.abc import Iterable
from pathlib import Path

from kbp.benchmarks.core import file_race
from kbp.benchmarks.core.log import read_race
from kbp.benchmarks.segmentation.trial import (
    FOLDS,
    NETWORKS,
    Protocol,
    Trainer,
    Trial,
)
from kbp.errors import check_known

RESULTS = Path(__file__).parent.parent / "results" / "segmentation.jsonl"
read = functools.partial(read_race, protocol=Protocol)


def race(
    file: Path,
    *,
    protocol: Protocol | None = None,
    names: Iterable[str] | None = None,
    data_dir: str | Path | None = None,
    **options,
) -> list[dict]:
    """Train each network on each data set; time the files.

    Args:
        file: JSON lines, see `kbp.benchmarks.core.file_race`.
        protocol: what all trainings have in common; by default `Protocol()`.
        names: of the networks that race now, by default all.
        data_dir: the folder that holds the sets.
        **options: `workers`, `rounds`, `again` and `console` of `file_race`.

    Returns:
        The trainings and measurements, all that the file holds.

    Raises:
        UserError: a name is unknown, the file is of another protocol, or a data
            set is missing.
    """
    protocol = protocol or Protocol()
    names = list(names or NETWORKS)
    check_known("network", names, NETWORKS)
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


def trials(network: str, protocol: Protocol) -> list[Trial]:
    """Return the trials of a network."""
    return [
        Trial(network, data, seed)
        for data, folds in FOLDS.items()
        for seed in range(folds or protocol.seeds)
    ]


def _network(trainer, result):
    splits = trainer.splits(result["data"], result["seed"])
    build, classes = NETWORKS[result["network"]].build, len(splits.class_names)
    return build(splits.input_shape, classes)


def _describe(result):
    return (
        f"{result['data']}, {result['network']}, {result['seed']}: Dice "
        f"{statistics.fmean(result['dice']):.2%}"
    )
