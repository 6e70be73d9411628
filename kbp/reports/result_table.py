"""A table that a task shows."""

from dataclasses import dataclass

# Scores that differ by more than this share are not called as good, even where
# chance may be why.
COMPARABLE = 0.05


@dataclass(frozen=True)
class ResultTable:
    """A table of a task's own, for the report and the terminal.

    Attributes:
        headings: of the columns; the first one is of the rows' names.
        rows: cells, as text.
        remark: what the table shows, in a sentence; `""` if nothing is to say.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    remark: str = ""
