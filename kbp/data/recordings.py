"""Recordings of events: spikes of neurons, or pixels that changed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kbp.data.array_files import read_arrays
from kbp.data.formats.frames import read_frame
from kbp.data.images.search import FileKind
from kbp.data.splitting import some
from kbp.errors import UserError

RECORDINGS = FileKind(
    "recording",
    "recordings",
    (".csv", ".npz"),
    (
        *(".aedat", ".aedat4", ".bag", ".bin", ".dat", ".edf", ".es", ".h5"),
        *(".hdf5", ".mat", ".npy", ".nwb", ".parquet", ".pkl", ".raw", ".tsv"),
        ".txt",
    ),
)
POLARITIES = ("both", "ignore")
ORIGINS = ("first_event", "zero")
VALUES = ("counts", "spikes")
_CLOCK = 2.0**62  # whole numbers of which differences are in 64 bits
_LATEST = 1e100  # of times, whose products are finite


@dataclass(frozen=True)
class Binning:
    r"""How the events of a recording become an array `(time, channels)`.

    Attributes:
        timesteps: into which the time is cut, of equal lengths.
        channels: of a recording with a column `channel`, else 0.
        height: of a camera, in pixels, with columns `x` and `y`; else 0.
        width: likewise.
        block: pixels of a side of the squares that are counted together.
        polarity: `"both"`, which have channels of their own, or `"ignore"`.
        duration: of the time, in the recordings' units; 0 for what each lasts,
            to its last event.
        origin: where it begins, `"first_event"` or `"zero"`.
        values: `"counts"` of events, or `"spikes"`: 1 where there is any.

    Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.csv"
    ...     _ = path.write_text("time,channel\n0,0\n1,2\n9,2\n10,1\n")
    ...     Binning(2, channels=3, polarity="ignore").read(path).values
    array([[1., 0., 1.],
           [0., 1., 1.]], dtype=float32)
    """

    timesteps: int
    channels: int = 0
    height: int = 0
    width: int = 0
    block: int = 1
    polarity: str = "both"
    duration: float = 0.0
    origin: str = "first_event"
    values: str = "counts"

    @property
    def shape(self) -> tuple[int, int]:
        """Of the array of a recording.

        A channel, or a block of pixels row by row, comes once for each
        polarity: the negative or 0 one first.
        """
        places = self.channels
        if self.height:
            rows, columns = (
                math.ceil(side / self.block)
                for side in (self.height, self.width)
            )
            places = rows * columns
        return self.timesteps, places * (2 if self.polarity == "both" else 1)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that a recording must have."""
        where = ("x", "y") if self.height else ("channel",)
        which = ("polarity",) if self.polarity == "both" else ()
        return ("time", *where, *which)

    def read(self, path: Path) -> "Recording":
        """Read a recording, and count its events.

        Args:
            path: of a CSV file, whose first line names the columns, or of an
                NPZ file with an array for each. Events may come in any order.

        Raises:
            UserError: the file is damaged, empty or of other columns; a time
                is no number or before 0 with `origin="zero"`; or a place or a
                polarity is out of range.
        """
        events = _Events(path, self.columns)
        times = events.column("time")
        if (far := ~(np.abs(times) <= _LATEST)).any():
            raise events.wrong("time", far, "no time")
        if self.origin == "zero" and times.min() < 0:
            raise events.wrong(
                "time", times < 0, 'before 0; data.origin = "first_event"?'
            )
        goes_back = bool((np.diff(times) < 0).any())
        # Whole numbers as large as those of clocks lose nothing here.
        times = times - (times.min() if self.origin == "first_event" else 0)
        length = self.duration or float(times.max()) or 1.0
        with np.errstate(over="ignore"):  # of a duration of nearly nothing
            step = np.floor(times * float(self.timesteps) / length)
        if not self.duration:
            step = np.minimum(step, self.timesteps - 1)  # the last event's
        inside = step < self.timesteps
        place = self._places(events)
        size = self.timesteps * self.shape[1]
        flat = step[inside].astype("int64") * self.shape[1] + place[inside]
        counts = np.bincount(flat, minlength=size).reshape(self.shape)
        if self.values == "spikes":
            counts = np.minimum(counts, 1)
        outside = int((~inside).sum())
        return Recording(counts.astype("float32"), outside, goes_back)

    def _places(self, events: "_Events") -> np.ndarray:
        """Return the channel of each event in the array."""
        if self.height:
            x = events.whole("x", self.width) // self.block
            y = events.whole("y", self.height) // self.block
            place = y * math.ceil(self.width / self.block) + x
        else:
            place = events.whole("channel", self.channels)
        if self.polarity == "ignore":
            return place
        sign = events.column("polarity")
        known = np.isin(sign, (-1, 0, 1))
        if not known.all():
            raise events.wrong("polarity", ~known, "neither 1 nor 0 or -1")
        if (sign == 0).any() and (sign == -1).any():
            raise UserError(
                f"{events.path}: column polarity holds both 0 and -1, of which "
                "one is the negative polarity."
            )
        return 2 * place + (sign > 0)


@dataclass(frozen=True)
class Recording:
    """What was read of a recording.

    Attributes:
        values: `(time, channels)`, float32.
        outside: how many events come after the duration, and are left out.
        goes_back: whether an event has an earlier time than the one before it.
    """

    values: np.ndarray
    outside: int
    goes_back: bool


class _Events:
    """The columns of a recording, which are checked as they are asked for."""

    def __init__(self, path: Path, columns: tuple[str, ...]):
        self.path = path
        self.held: Any
        if path.suffix.lower() == ".npz":
            self.held = read_arrays(path)
            shapes = {name: x.shape for name, x in self.held.items()}
            if len({*shapes.values()}) > 1 or any(
                len(shape) != 1 for shape in shapes.values()
            ):
                raise UserError(
                    f"{path}: its arrays must be of one axis and one length; "
                    f"their shapes are {shapes}."
                )
            self.noun, self.numbers = "event", None
        else:
            self.held = read_frame(path)
            self.noun, self.numbers = "line", self.held.index
        names = {*self.held}
        if missing := [name for name in columns if name not in names]:
            advice = ""
            if missing == ["polarity"]:
                advice = ', or data.polarity = "ignore"'
            raise UserError(
                f"{path}: has no column {' and '.join(missing)}; it has "
                f"{some(names)}. It must have {', '.join(columns)}{advice}."
            )
        allowed = {"time", "channel", "x", "y", "polarity"}
        if unknown := names - allowed:
            raise UserError(
                f"{path}: holds {some(unknown)}; known columns are time, "
                "channel or x and y, and polarity."
            )
        if not len(self.held["time"]):
            raise UserError(f"{path}: holds no event.")

    def column(self, name: str) -> np.ndarray:
        """Return a column's numbers."""
        values = self.held[name]
        if self.numbers is not None:
            found = pd.to_numeric(values, errors="coerce")
            values = found.to_numpy()
            if (wrong := np.isnan(values.astype("float64"))).any():
                raise self.wrong(name, wrong, "no number")
        if values.dtype.kind not in "buif":
            raise UserError(
                f"{self.path}: array {name} holds {values.dtype}, no numbers."
            )
        floats = values.astype("float64")
        if values.dtype.kind == "f" or np.abs(floats).max() > _CLOCK:
            return floats
        return values.astype("int64")

    def whole(self, name: str, count: int) -> np.ndarray:
        """Return a column of whole numbers from 0 to below a count."""
        values = self.column(name)
        wrong = ~((values >= 0) & (values < count) & (values % 1 == 0))
        if wrong.any():
            key = {"x": "width", "y": "height"}.get(name, "channels")
            raise self.wrong(
                name, wrong, f"no whole number of 0 to {count - 1} (data.{key})"
            )
        return values.astype("int64")

    def wrong(self, name: str, where: np.ndarray, words: str) -> UserError:
        """Return the error about the first of some values of a column."""
        first = int(np.argmax(where))
        place = first + 1 if self.numbers is None else self.numbers[first]
        value = np.asarray(self.held[name])[first]
        return UserError(
            f"{self.path}, {self.noun} {place}: {name} is {str(value)[:40]!r}, "
            f"{words}."
        )


def remarks_of(found: Mapping[str, Recording]) -> list[str]:
    """Return sentences about what is odd in recordings.

    Args:
        found: recordings, by the names of their files.
    """
    said = []
    back = [name for name, each in found.items() if each.goes_back]
    if back:
        said.append(
            f"Times go back in {some(back)}; events count by their time, in "
            "whatever order they come."
        )
    late = [name for name, each in found.items() if each.outside]
    if late:
        count = sum(found[name].outside for name in late)
        said.append(
            f"{count:,} events come after data.duration and are left out, in "
            f"{some(late)}."
        )
    return said
