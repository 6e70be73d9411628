"""The race of federated training, seed by seed."""

from collections.abc import Iterator

from kbp.benchmarks.core.race import Race
from kbp.benchmarks.core.registry import register
from kbp.benchmarks.federated import report
from kbp.benchmarks.federated.cases import CASES
from kbp.benchmarks.federated.trial import Protocol, Trainer, Trial


def plan(
    names: list[str], protocol: Protocol, results: list[dict]
) -> Iterator[list[Trial]]:
    """Yield all trials, which depend on no results: seed by seed."""
    yield [
        Trial(name, seed) for seed in range(protocol.seeds) for name in names
    ]


def describe(result: dict) -> str:
    """Return a result in one line."""
    found = f"{result['score']:.2%}" if "score" in result else result["failed"]
    return (
        f"{result['case']}, seed {result['seed']}: {found[:60]}, "
        f"{result['seconds']:.0f} s"
    )


RACE = register(
    Race(
        name="federated",
        kind="case",
        competitors=CASES,
        protocol=Protocol,
        plan=plan,
        create=Trainer,
        describe=describe,
        markdown_table=report.markdown_table,
        plot=report.plot,
    )
)
