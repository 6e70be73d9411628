"""The zoo's int8 files on other runtimes than XNNPACK at one thread."""

import dataclasses
from collections.abc import Iterable

from kbp import export, zoo
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance
from kbp.benchmarks.core.registry import register
from kbp.inference import golden
from kbp.reports.agreements import cells, largest, percent

NAMES = ("litert", "reference", "micro", "web")
ENTRIES = [entry.name for entry in zoo.entries() if entry.has_weights]


def measure(name: str, rounds: int = 1) -> dict:
    """Compare the runtimes on an entry's golden inputs.

    Args:
        name: of the entry.
        rounds: makes no difference.

    Returns:
        `runtimes`, a list of what `kbp.export.Agreement` holds; of its
        operations the first and the worst.
    """
    path = zoo.file(name)
    found = export.verify_runtimes(path, golden.inputs_for(path), NAMES)
    return {"runtimes": [dataclasses.asdict(_short(each)) for each in found]}


def _short(found: export.Agreement) -> export.Agreement:
    ends = (x for x in (found.first, found.worst) if x is not None)
    return dataclasses.replace(found, operations=tuple(dict.fromkeys(ends)))


def agreements(line: dict) -> list[export.Agreement]:
    """Return what a line holds."""
    return [
        export.Agreement(
            **{
                **each,
                "operations": tuple(
                    export.Difference(**one) for one in each["operations"]
                ),
            }
        )
        for each in line["runtimes"]
    ]


def markdown_table(lines: list[dict]) -> str:
    """Return measured entries as Markdown: a table, and how it was made."""
    versions = {x.version: None for line in lines for x in agreements(line)}
    return "\n".join(
        [
            *markdown.table(["entry", "outputs", *NAMES], map(_row, lines)),
            "",
            "Shares of the outputs that are at most one step from those of "
            "XNNPACK at one thread, of each entry's golden inputs; in brackets "
            "the largest difference in steps. "
            f"{', '.join(versions)}; {provenance(lines[0], lines)}",
        ]
    )


def card_table(name: str) -> str:
    """Return the published figures of one entry as Markdown, `""` if none.

    Args:
        name: of the entry.
    """
    lines = RUNTIMES.read(RUNTIMES.published)
    line = next((line for line in lines if line["case"] == name), None)
    if line is None:
        return ""
    titles = ["runtime", "same", "within one step", "largest", "first", "most"]
    rows = ([each.version, *cells(each)] for each in agreements(line))
    return "\n".join(markdown.table(titles, rows))


def _row(line: dict) -> Iterable[str]:
    found = agreements(line)
    return [
        line["case"],
        f"{found[0].outputs:,}",
        *(f"{percent(x.within_one)} ({largest(x)})" for x in found),
    ]


RUNTIMES = register(
    Cases(
        name="runtimes",
        kind="entry",
        cases={name: name for name in ENTRIES},
        measure=measure,
        show=lambda line: markdown.row(_row(line)),
        markdown_table=markdown_table,
    )
)
