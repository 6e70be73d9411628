"""One series of a file, split in time and standardized."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kbp.data.checks.values import MOST
from kbp.data.formats.series_reader import Series
from kbp.data.formats.series_table import Table
from kbp.data.series import Windows
from kbp.data.series_files.ends import Split
from kbp.data.series_files.rows import BlockRows
from kbp.data.splitting import SPLITS
from kbp.errors import UserError


@dataclass(frozen=True)
class Part:
    """One series of a table.

    Attributes:
        rows: float32, standardized values and covariates.
        end: row at which training ends.
        starts: rows at which the windows of each split begin.
        mean: of the values in the training rows, `(targets,)`.
        scale: their standard deviation.
        tested_from: time of the first test row.
    """

    rows: np.ndarray
    end: int
    starts: dict[str, np.ndarray]
    mean: np.ndarray
    scale: np.ndarray
    tested_from: Any


def part_of(
    path: str | Path,
    table: Table,
    series: Series,
    lookback: int,
    horizon: int,
    split: Split,
) -> Part:
    """Split a series in time and standardize it."""
    whose = f"{path}: series {series.name!r}: " if series.name else f"{path}: "
    try:
        ends = split(series.times)
    except UserError as error:
        raise UserError(
            f"{whose}{error}" if series.name else str(error)
        ) from error
    begins = (0, *(max(0, end - lookback) for end in ends[:2]))
    starts = {}
    for name, begin, end in zip(SPLITS, begins, ends, strict=True):
        if end - begin < lookback + horizon and (
            name != "validation" or ends[0] != ends[1]
        ):
            raise UserError(
                f"{whose}the {name} split has {end - begin} rows, with those "
                f"it looks back on; a look-back of {lookback} and a horizon of "
                f"{horizon} need {lookback + horizon}."
            )
        starts[name] = np.arange(begin, end - lookback - horizon + 1)
    known = series.values[: ends[0]]
    mean, scale = known.mean(axis=0), known.std(axis=0)
    with np.errstate(all="ignore"):  # the next lines look at what came out
        values = ((series.values - mean) / scale).astype("float32")
        covariates = table.known(series).astype("float32")
    for index, name in enumerate(table.names):
        if not np.ptp(known[:, index]):
            raise UserError(
                f"{whose}column {name!r} is constant in the training rows; "
                "leave it out of the columns."
            )
    rows = np.concatenate([values, covariates], axis=1)
    for index, name in enumerate((*table.names, *table.covariates)):
        far = ~(np.abs(rows[:, index]) < MOST)
        if far.any():
            raise UserError(
                f"{whose}column {name!r} has values too far from those of the "
                f"training rows for float32, the first at "
                f"{series.times[np.argmax(far)]}; correct them, or leave it "
                "out of the columns."
            )
    first = series.times[ends[1]]
    return Part(rows, ends[0], starts, mean, scale, first)


def windows_of(
    rows: np.ndarray | BlockRows,
    firsts: np.ndarray,
    counts: np.ndarray,
    **arguments: int,
) -> Windows:
    """Return a split's windows, which follow each other in each series.

    Args:
        rows: of all series, one behind the other.
        firsts: where the first window of each series begins, `(series,)`.
        counts: how many windows each series has.
        **arguments: of `Windows`.
    """
    members = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    starts = np.arange(len(members)) + (firsts - before)[members]
    return Windows(
        rows,
        starts=starts,
        members=members if len(counts) > 1 else None,
        **arguments,
    )
