"""Predicts the rows of a CSV file."""

import csv
import sys
from typing import Any

import numpy as np
from runner import arguments, load, predict, softmax


def encode(text: str, column: dict[str, Any], facts: dict[str, Any]) -> float:
    """Return the number that the model takes for a field."""
    missing = not text.strip() or text in facts["missing_values"]
    if "categories" in column:
        return 0 if missing else column["categories"].get(text, 0)
    if missing and facts["missing"] == "mean":
        return column["mean"]
    return float(text)


if __name__ == "__main__":
    (path, *_) = arguments("FILE.csv", 1)
    facts, interpreter = load()
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = facts["columns"]
    inputs = [[encode(r[c["name"]], c, facts) for c in columns] for r in rows]
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
