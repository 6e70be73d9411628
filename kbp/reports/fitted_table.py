"""A table whose headings break where the terminal has no room for them."""

import re
from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table


class FittedTable:
    """A table of text that 80 columns hold, for rich to print.

    Args:
        title: of the table.
        headings: of its columns, the first of which names the rows.
        rows: their cells.

    Example:
    >>> from rich.console import Console
    >>> table = FittedTable("", ["", "size in kB"], [["a.tflite", "1"]])
    >>> Console(width=14).print(table)
              size
                in
                kB
    ──────────────
    a.tflite     1
    """

    def __init__(
        self, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]
    ):
        self.title, self.headings, self.rows = title, headings, rows

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        whole = self.made(lambda heading, least: heading)
        width = Measurement.get(
            console, options.update(max_width=10_000), whole
        ).maximum
        yield whole if width <= options.max_width else self.made(in_lines)

    def made(self, broken: Callable[[str, int], str]) -> Table:
        """Return a rich table.

        Args:
            broken: `broken(heading, least)` gives the lines of a heading whose
                cells are `least` characters wide.
        """
        table = Table(
            title=escape(self.title),
            box=box.SIMPLE_HEAD,
            collapse_padding=True,
            pad_edge=False,
            show_edge=False,
        )
        for index, heading in enumerate(self.headings):
            least = max((len(row[index]) for row in self.rows), default=0)
            table.add_column(
                escape(broken(heading, least)),
                justify="right" if index else "left",
                overflow="fold",
                vertical="bottom",
            )
        for row in self.rows:  # a column's unit may stand in brackets
            table.add_row(*map(escape, row))
        return table


def in_lines(heading: str, least: int = 0) -> str:
    """Return a heading in lines no longer than the longest of its words.

    rich would cut a word, as what is between two spaces.

    Args:
        heading: of a column.
        least: characters that lines may have in any case.

    Example:
    >>> in_lines("mean_absolute_error").splitlines()
    ['mean_', 'absolute_', 'error']
    """
    words = re.findall(r"[^ _.-]*[ _.-]?", heading)
    width = max(least, *(len(word.strip()) for word in words))
    lines = [""]
    for word in words:
        if len(lines[-1] + word.strip()) > width:
            lines.append("")
        lines[-1] += word
    return "\n".join(line.strip() for line in lines)
