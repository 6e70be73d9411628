"""Predicts the rows of a CSV file."""

import csv
import sys
from typing import Any

import numpy as np
from rows import number, read_rows
from runner import arguments, load, predict, softmax


def is_missing(text: str, facts: dict[str, Any]) -> bool:
    """Say whether a field holds nothing, or what stands for it."""
    named = facts["missing_values"]
    value = number(text.replace(",", "."))
    return (
        text.lower() in facts["empty"]
        or text in named
        or (value is not None and value in map(number, named))
    )


def encode(text: str, column: dict[str, Any], facts: dict[str, Any]) -> float:
    """Return the number that the model takes for a field."""
    missing = is_missing(text, facts)
    if "categories" in column:
        return 0 if missing else column["categories"].get(text, 0)
    if missing and facts["missing"] == "mean":
        return column["mean"]
    value = None if missing else number(text)
    if value is None:
        raise ValueError(f"{text!r} in column {column['name']!r} is no number.")
    return value


if __name__ == "__main__":
    (path, *_) = arguments("FILE.csv", 1)
    facts, interpreter = load()
    rows, columns, inputs = read_rows(path), facts["columns"], []
    for column in columns:
        if column["name"] not in rows[0][1]:
            sys.exit(f"{path}: has no column {column['name']!r}.")
    for line, row in rows:
        try:
            inputs.append([encode(row[c["name"]], c, facts) for c in columns])
        except ValueError as error:
            sys.exit(f"{path}, line {line}: {error}")
    outputs = predict(interpreter, np.array(inputs))
    table = csv.writer(sys.stdout, lineterminator="\n")
    if facts["labels"]:
        table.writerow(["predicted", "probability"])
        for shares in softmax(outputs.astype("float64")):
            best = shares.argmax()
            table.writerow([facts["labels"][best], f"{shares[best]:.4f}"])
    else:
        table.writerow(["predicted"])
        table.writerows([f"{x:.7g}"] for x in outputs[:, 0].astype("float64"))
