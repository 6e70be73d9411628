"""Ways to eight bits, raced on the same trained networks."""

import functools
from collections.abc import Iterable
from pathlib import Path

from kbp.benchmarks.core import file_race
from kbp.benchmarks.core.log import read_race
from kbp.benchmarks.quantization.methods import FLOAT, METHODS, edge_quantizer
from kbp.benchmarks.quantization.networks import NETWORKS
from kbp.benchmarks.quantization.trial import Protocol, Trainer, Trial
from kbp.errors import check_known

RESULTS = Path(__file__).parent.parent / "results" / "quantization.jsonl"
read = functools.partial(read_race, protocol=Protocol)


def race(
    file: Path,
    *,
    protocol: Protocol | None = None,
    names: Iterable[str] | None = None,
    data_dir: str | Path | None = None,
    **options,
) -> list[dict]:
    """Make, judge and time a file by each method of each network.

    The trained networks lie in the folder of the files.

    Args:
        file: JSON lines, see `kbp.benchmarks.core.file_race`.
        protocol: what all trials have in common; by default `Protocol()`.
        names: of the networks that race now, by default all.
        data_dir: the folder that holds CIFAR-10.
        **options: `workers`, `rounds`, `again` and `console` of `file_race`.

    Returns:
        The trials and measurements, all that the file holds.

    Raises:
        UserError: a name is unknown, the file is of another protocol, the data
            set or AI Edge Quantizer is missing, or so are files to be timed.
    """
    protocol = protocol or Protocol()
    names = list(names or NETWORKS)
    check_known("network", names, NETWORKS)
    edge_quantizer()
    planned = [trial for name in names for trial in trials(name, protocol)]
    return file_race.race(
        file,
        protocol,
        # The networks are trained first; what follows finds them.
        [[trial for trial in planned if trial.method == FLOAT], planned],
        create=Trainer,
        data_dir=data_dir,
        describe=_describe,
        files_of=lambda result: [result["file"]] if "file" in result else [],
        **options,
    )


def trials(network: str, protocol: Protocol) -> list[Trial]:
    """Return the trials of a network."""
    return [
        Trial(network, name, seed)
        for name, method in METHODS.items()
        if network in (method.networks or NETWORKS)
        for seed in range(1, protocol.seeds + 1)
    ]


def _describe(result):
    return (
        f"{result['network']}, {result['method']}, {result['seed']}: "
        f"{result['accuracy']:.2%}, {result['bytes'] / 1e3:,.0f} kB"
    )
