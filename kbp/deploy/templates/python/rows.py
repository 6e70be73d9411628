"""Reads CSV files."""

import csv
import math
import sys

_LARGEST = 1e100


def read_rows(path: str) -> list[tuple[int, dict[str, str]]]:
    """Return the number of each row's line, and its fields by their names."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        sys.exit(f"{path}: cannot be read: {error}")
    while lines and not any(lines[-1][1]):
        lines.pop()
    if len(lines) < 2:
        sys.exit(f"{path}: has no row below the header.")
    names, found = [name.strip() for name in lines[0][1]], []
    for line, row in lines[1:]:
        fields = row or [""]  # a line of nothing, of one column alone a field
        if len(fields) == len(names):
            texts = [field.strip() for field in fields]
            found.append((line, dict(zip(names, texts, strict=True))))
        elif row:
            sys.exit(
                f"{path}, line {line}: has {len(row)} fields, the first "
                f"line {len(names)}."
            )
    return found


def number(text: str) -> float | None:
    """Return the finite number that a field holds, if it holds one."""
    try:
        value = float(text)
    except ValueError:
        return None
    known = math.isfinite(value) and abs(value) < _LARGEST
    return value if known and "_" not in text else None
