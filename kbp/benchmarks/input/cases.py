"""`kbp benchmark input RECIPE`: the parts of training as a table."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance, rounds
from kbp.benchmarks.core.registry import Options, register
from kbp.benchmarks.input.parts import measure
from kbp.errors import UserError

_TITLES = ("images per second", "quartiles", "of the step's")


@dataclass(frozen=True, kw_only=True)
class Input(Cases):
    """A benchmark whose cases are the recipes that it is given."""

    def start(self, names: Sequence[str], options: Options) -> None:
        if not names:
            raise UserError("benchmark input takes a recipe, or several")
        recipes = {
            short: recipe for recipe, short in map(options.read_recipe, names)
        }
        given = dataclasses.replace(
            self,
            cases=recipes,
            measure=lambda name, rounds: measure(
                recipes[name], rounds, options.data_dir
            ),
        )
        Cases.start(given, [*recipes], options)


def show(line: dict) -> Table:
    """Return a measured recipe as a table for the console."""
    table = Table(title=line["case"], caption=_waiting(line))
    table.add_column("part")
    for title in _TITLES:
        table.add_column(title, justify="right")
    for cells in _rows(line):
        table.add_row(*cells)
    return table


def markdown_table(lines: list[dict]) -> str:
    """Return measured recipes as Markdown: a table, and how it was measured."""
    rows = [[line["case"], *cells] for line in lines for cells in _rows(line)]
    said = " ".join(f"{line['case']}: {_waiting(line)}" for line in lines)
    return "\n".join(
        [
            *markdown.table(["recipe", "part", *_TITLES], rows, texts=2),
            "",
            f"Medians of {rounds(lines)} rounds in turns, each part by "
            "itself; the last column: median of the ratios to the training "
            f"step of the same round. {said} {provenance(lines[0], lines)}",
        ]
    )


def _rows(line):
    for name, part in line["parts"].items():
        low, high = part["quartiles"]
        yield [
            name,
            f"{part['speed']:,.0f}",
            f"{low:,.0f} - {high:,.0f}",
            f"{part['ratio']:.2f}",
        ]


def _waiting(line):
    return f"The training waited for data {line['waiting']:.1%} of its time."


INPUT = register(
    Input(
        name="input",
        cases={},
        measure=lambda name, rounds: {},
        show=show,
        markdown_table=markdown_table,
        kind="recipe",
    )
)
