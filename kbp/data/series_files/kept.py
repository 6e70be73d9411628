"""Series of a file that need not fit into memory: rows kept on the disk."""

import base64
import dataclasses
import itertools
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kbp.data.cache import Kept, Parts, keep, scratch_folder
from kbp.data.formats import covariates
from kbp.data.formats.series_format import SeriesFormat
from kbp.data.formats.series_reader import SeriesReader
from kbp.data.formats.series_table import Table
from kbp.data.series import Covariates, SeriesSplits
from kbp.data.series_files.ends import Split
from kbp.data.series_files.moments import Moments
from kbp.data.series_files.part import Part, part_of, windows_of
from kbp.data.series_files.rows import BlockRows, blocks
from kbp.data.series_files.spool import Spool, UnlikeError
from kbp.data.splitting import SPLITS
from kbp.data.tables.rows import opened
from kbp.data.tables.source import Columns
from kbp.errors import UserError

_MICROSECOND = timedelta(microseconds=1)


def load(
    path: Path,
    form: SeriesFormat,
    *,
    lookback: int,
    horizon: int,
    split: Split,
    settings: Mapping[str, Any],
) -> SeriesSplits:
    """Return what `csv_series.load` does, with the rows on the disk.

    The file is read a few rows at a time, and its series a few at a time, once
    for all runs with these settings.

    Args:
        path: see `csv_series.load`, as the next ones.
        form: how the file holds series.
        lookback: rows that a model sees.
        horizon: rows after them.
        split: where training, validation and test end.
        settings: what the rows depend on, as JSON has it.

    Raises:
        UserError: see `csv_series.load`, or the disk does not take the rows.
    """

    def read(notes: dict[str, Any]) -> Parts:
        with scratch_folder() as folder:
            stream = _Stream(path, form, folder)
            parts = stream.parts(lookback, horizon, split)
            for part in blocks(parts):
                yield (part,)
            notes |= stream.notes()

    kept = keep(path, [path], settings, read, lambda _: [], on_disk=True)
    return _splits(kept, form, lookback, horizon)


class _Stream:
    """The series of a file one after the other, and what is noted of them."""

    def __init__(self, path: Path, form: SeriesFormat, folder: Path):
        self.path, self.form = path, form
        source = opened(path, form.separator, form.encoding, by_row=False)
        self.reader = SeriesReader(path, form)
        self.reader.names = form.target or self.reader.others(source.names)
        self.frames: Iterable[pd.DataFrame]
        try:
            self.frames = spool = Spool(self.reader, source, folder)
            known = {x: [*y.known] for x, y in spool.categories.items()}
        except UnlikeError:
            # Whole columns tell what is wrong, or how they are read.
            self.reader = SeriesReader(path, form)
            frame = self.reader.frame(path, Columns(path, source))
            self.frames = [frame]
            known = {x: frame[f"static {x}"].unique() for x in form.static}
        self.table = Table(
            form,
            self.reader.names,
            (),
            {x: tuple(sorted(y)) for x, y in known.items()},
            source=str(path),
        )
        self.first: Any = None  # a table of the first series alone
        self.names: list[str] = []
        self.firsts = {split: array("q") for split in SPLITS}
        self.counts = {split: array("q") for split in SPLITS}
        self.mean, self.scale = array("d"), array("d")
        self.rows, self.tested_from = 0, None
        count = len(self.table.covariates)
        self.moments = Moments(folder / "covariates", count) if count else None

    def parts(
        self, lookback: int, horizon: int, split: Split
    ) -> Iterator[np.ndarray]:
        """Yield the standardized rows of each series.

        Raises:
            UserError: of what is wrong, what is found first in memory, where
                each step is done with all series before the next.
        """
        wrong: dict[int, UserError] = {}
        reader, categories = self.reader, self.table.categories
        groups = itertools.chain.from_iterable(map(reader.groups, self.frames))
        for name, group in groups:
            step = 0
            try:
                chosen = reader.static(name, group)
                step += 1
                static = covariates.one_hot(chosen, categories)
                series = reader.series(name, group, static)
                if not self.first:
                    self.first = dataclasses.replace(
                        self.table, series=(series,)
                    )
                step += 1
                self.first.check_step(self.path, series)
                step += 1
                part = part_of(
                    self.path, self.table, series, lookback, horizon, split
                )
            except UserError as error:
                wrong.setdefault(step, error)
            if not wrong:
                self.note(series.name, part)
                yield part.rows
        if wrong:
            raise wrong[min(wrong)]

    def note(self, name: str, part: Part) -> None:
        """Note what must be known of a series."""
        self.names.append(name)
        for split, starts in part.starts.items():
            first = self.rows + (starts[0] if len(starts) else 0)
            self.firsts[split].append(first)
            self.counts[split].append(len(starts))
        self.mean.extend(part.mean)
        self.scale.extend(part.scale)
        self.rows += len(part.rows)
        if self.tested_from is None or part.tested_from > self.tested_from:
            self.tested_from = part.tested_from
        if self.moments:
            self.moments.add(part.rows[: part.end, len(self.reader.names) :])

    def notes(self) -> dict[str, Any]:
        """Return what is known of all series as JSON has it."""
        step, columns = self.first.step, len(self.reader.names)
        is_time = isinstance(step, timedelta)
        counts = self.reader.counts.items()
        found = {
            "rows": self.rows,
            "names": self.reader.names,
            "series": self.names,
            "categories": self.table.categories,
            "counts": {what: count for what, count in counts if count},
            "warnings": self.reader.warnings,
            "step": [is_time, step // _MICROSECOND if is_time else step],
            "zone": self.first.zone,
            "tested_from": str(self.tested_from),
        }
        for name in SPLITS:
            runs = self.firsts[name], self.counts[name]
            found[name] = _as_text(np.array(runs))
        for name, values in (("mean", self.mean), ("scale", self.scale)):
            found[name] = _as_text(np.reshape(values, (-1, columns)))
        if self.moments:
            found["covariates"] = [*map(_as_text, self.moments.measure())]
        return found


def _splits(
    kept: Kept, form: SeriesFormat, lookback: int, horizon: int
) -> SeriesSplits:
    """Return what was kept."""
    notes = kept.notes
    rows = BlockRows(kept.arrays[0], notes["rows"])
    names = tuple(notes["names"])
    categories = {x: tuple(y) for x, y in notes["categories"].items()}
    table = Table(form, names, (), categories)
    past = len(form.past_covariates)
    known = None
    if table.covariates:
        mean, scale = map(_as_array, notes["covariates"])
        known = Covariates(table.covariates, past, mean, scale, categories)
    windows = {}
    for name in SPLITS:
        firsts, counts = _as_array(notes[name])
        windows[name] = windows_of(
            rows,
            firsts,
            counts,
            lookback=lookback,
            horizon=horizon,
            targets=len(names),
            past_covariates=past,
        )
    is_time, step = notes["step"]
    return SeriesSplits(
        **windows,
        names=names,
        mean=_as_array(notes["mean"]),
        scale=_as_array(notes["scale"]),
        counts=notes["counts"],
        step=step * _MICROSECOND if is_time else step,
        series=tuple(notes["series"]),
        covariates=known,
        tested_from=notes["tested_from"],
        zone=notes["zone"],
        warnings=tuple(notes["warnings"]),
        remarks=kept.remarks,
        kept=kept.said,
    )


def _as_text(values: np.ndarray) -> list[Any]:
    """Return an array as JSON has it, to the last bit."""
    content = base64.b64encode(values.tobytes()).decode()
    return [values.dtype.str, values.shape, content]


def _as_array(text: Sequence[Any]) -> np.ndarray:
    kind, shape, content = text
    return np.frombuffer(base64.b64decode(content), kind).reshape(shape)
