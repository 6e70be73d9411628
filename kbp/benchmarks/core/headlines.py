"""What a race found in one row: kbp's cells of its table beside a peer's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kbp.benchmarks.core import markdown

NAME = "headlines"  # of the table, as pages mark its place
TITLES = (
    *("race", "measured", "kbp", "best other, by the first figure"),
    *("seeds, at least", "measured on"),
)


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The rows of a race's table that say most.

    Attributes:
        measured: what stands in the columns, in words.
        columns: their titles.
        ours: the first cell of kbp's row, without marks of bold text.
        peer: that of the row of others' that is best in the first column.
    """

    measured: str
    columns: Sequence[str]
    ours: str
    peer: str

    def cells(self, table: str) -> tuple[str, str, str]:
        """Return what is measured, kbp's cells and the peer's with its name.

        Args:
            table: the race's, as Markdown.

        Raises:
            ValueError: the table has no such row or column, or nothing there.

        Example:
        >>> from kbp.benchmarks.core.headlines import Headline
        >>> headline = Headline(
        ...     measured="steps", columns=["steps"], ours="Ours", peer="Adam"
        ... )
        >>> rows = ["| name | steps |", "| --- | ---: |"]
        >>> rows += ["| **Ours** | 9 |", "| Adam | 12 |"]
        >>> headline.cells(chr(10).join(rows))
        ('steps', '9', 'Adam: 12')
        """
        ours, peer = (
            ", ".join(_cells(table, label, self.columns))
            for label in (self.ours, self.peer)
        )
        name = self.peer.rpartition(": ")[2]  # without the data's
        return self.measured, ours, f"{name}: {peer}"


def _cells(table, label, columns):
    """Return cells of the first row with a label."""
    titles: list[str] = []
    for line in table.splitlines():
        cells = line.replace("**", "").strip("| ").split(" | ")
        if not line.startswith("|"):
            titles = []
        elif not titles:
            titles = cells
        elif cells[0] == label and {*columns} <= {*titles}:
            found = [cells[titles.index(title)] for title in columns]
            if "-" in found:
                break
            return found
    raise ValueError(
        f"A race's table must have the row of its headline. Received: {label!r}"
    )


def table(rows: Iterable[Sequence[str]]) -> str:
    """Return the headlines of several races as Markdown."""
    return "\n".join(markdown.table(TITLES, rows, texts=len(TITLES)))
