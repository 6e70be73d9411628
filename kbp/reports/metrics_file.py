"""What metrics.csv holds, a row for each epoch of each stage."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_MUCH = 0.05  # of the training; less is not worth a change


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Return the rows of a metrics file, without the empty cells."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [
            {key: value for key, value in row.items() if value != ""}
            for row in csv.DictReader(file)
        ]


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV, with the columns that any of them has.

    Example:
    >>> as_csv([{"epoch": 1}, {"epoch": 2, "loss": 0.5}]).splitlines()
    ['epoch,loss', '1,', '2,0.5']
    """
    columns = dict.fromkeys(key for row in rows for key in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def waiting_share(rows: Sequence[Mapping[str, str]]) -> float | None:
    """Return the share of the training's time that it waited for data.

    Args:
        rows: of the metrics file; those of epochs that were not measured, or
            only in part, do not count.

    Returns:
        The mean of the epochs, the longer the more; `None` without any.

    Example:
    >>> waiting_share([
    ...     {"seconds": "9", "waiting": "0.1"},
    ...     {"seconds": "1", "waiting": "0.3"},
    ...     {"seconds": "5"},
    ... ])
    0.12
    """
    pairs = [
        (float(row["seconds"]), float(row["waiting"]))
        for row in rows
        if "waiting" in row
    ]
    total = sum(seconds for seconds, _ in pairs)
    if not total:
        return None
    return round(sum(x * share for x, share in pairs) / total, 4)


def said_of_waiting(share: float | None) -> str:
    """Say how long the training waited, and what to do if it is much.

    Args:
        share: of the time; `None` says nothing.

    Example:
    >>> said_of_waiting(0.012).strip()
    'The training waited for data 1.2% of its time.'
    """
    if share is None:
        return ""
    said = f"The training waited for data {share:.1%} of its time"
    if share <= _MUCH:
        return f"{said}.\n"
    return (
        f"{said}: `kbp benchmark input RECIPE` says what takes it. Images in "
        "files are read sooner from data.cache or as `kbp pack` packs them; "
        "smaller images and less augmentation take less.\n"
    )
