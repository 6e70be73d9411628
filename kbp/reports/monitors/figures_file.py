"""What gradients.csv and activations.csv hold, a row for a layer at a step."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kbp._utils.files import write_atomically

_KEYS = ("stage", "step", "layer")


def read_figures(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file; cells without a value are `None`."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [
            {
                "stage": row.pop("stage"),
                "step": int(row.pop("step")),
                "layer": row.pop("layer"),
                **{key: float(x) if x else None for key, x in row.items()},
            }
            for row in csv.DictReader(file)
        ]


def write_figures(
    path: Path, rows: Iterable[dict[str, Any]], figures: Sequence[str]
) -> None:
    """Write rows to a file.

    Args:
        path: of the file.
        rows: as `read_figures` returns them.
        figures: names of the columns after stage, step and layer.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [*_KEYS, *figures], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())
