"""Reading metrics.csv, a row for each epoch of each stage."""

import csv
from pathlib import Path


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Return the rows of a metrics file, without the empty cells."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [
            {key: value for key, value in row.items() if value != ""}
            for row in csv.DictReader(file)
        ]
