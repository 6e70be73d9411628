"""Forecasts columns of a CSV file."""

import sys

import numpy as np
from rows import number, read_rows
from runner import arguments, load, predict

if __name__ == "__main__":
    (path, *_) = arguments("FILE.csv", 1)
    facts, interpreter = load()
    _, lookback, at_once = facts["input"]["shape"]
    rows = [row for _, row in read_rows(path)][-lookback:]
    if len(rows) < lookback:
        sys.exit(f"{path}: has {len(rows)} rows; {lookback} are needed.")
    names = facts["columns"] or [
        name
        for name in rows[0]
        if any(number(row[name]) is not None for row in rows)
    ]
    for name in names:
        if name not in rows[0]:
            sys.exit(f"{path}: has no column {name!r}.")
        if any(number(row[name]) is None for row in rows):
            sys.exit(f"{path}: column {name} has a field that is no number.")
    past = np.array([[number(row[name]) for name in names] for row in rows])
    mean = past.mean(axis=0)
    scale = np.where(np.ptp(past, axis=0) > 0, past.std(axis=0), 1.0)
    relative = (past - mean) / scale
    # Some columns at a time; the last group has some of the first again.
    count = len(names)
    groups = np.arange(-(-count // at_once) * at_once) % count
    outputs = [
        predict(interpreter, relative[None, :, group])[0].astype("float64")
        for group in groups.reshape(-1, at_once)
    ]
    values = np.concatenate(outputs, axis=-1)[:, :count] * scale + mean
    print(",".join(["step", *names]))
    for step, row in enumerate(values, start=1):
        print(",".join([str(step), *(f"{x:.7g}" for x in row)]))
