"""Paths of many files in little memory."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np


class Paths(Sequence[Path]):
    """Paths of files, each of which is made when it is asked for.

    They are held as bytes: a `Path` takes ten times the memory, which is much
    for hundreds of thousands of files.

    Args:
        paths: in the order that they keep.

    Example:
    >>> paths = Paths(["cats/1.png", "dogs/1.png", "dogs/2.png"])
    >>> paths[-1].name, len(paths[1:])
    ('2.png', 2)
    """

    def __init__(self, paths: Iterable[str | Path]):
        held, ends = bytearray(), [0]
        for path in paths:
            held += os.fsencode(path)
            ends.append(len(held))
        self._held, self._ends = bytes(held), np.array(ends)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, key: int) -> Path: ...
    @overload
    def __getitem__(self, key: slice) -> "Paths": ...
    def __getitem__(self, key: int | slice) -> "Path | Paths":
        if isinstance(key, slice):
            return Paths(self[i] for i in range(*key.indices(len(self))))
        index = range(len(self))[key]  # which raises IndexError
        first, end = self._ends[index : index + 2]
        return Path(os.fsdecode(self._held[first:end]))


Pair = tuple[Path, Path]  # an image's file and its mask's


class PathPairs(Sequence[Pair]):
    """Pairs of paths, each of which is made when it is asked for.

    Args:
        firsts: of the pairs.
        seconds: of the same pairs.

    Example:
    >>> pairs = PathPairs(Paths(["1.png", "2.png"]), Paths(["a.png", "b.png"]))
    >>> [path.name for path in pairs[1]]
    ['2.png', 'b.png']
    """

    def __init__(self, firsts: Paths, seconds: Paths):
        self.firsts, self.seconds = firsts, seconds

    def __len__(self) -> int:
        return len(self.firsts)

    @overload
    def __getitem__(self, key: int) -> Pair: ...
    @overload
    def __getitem__(self, key: slice) -> "PathPairs": ...
    def __getitem__(self, key: int | slice) -> "Pair | PathPairs":
        if isinstance(key, slice):
            return PathPairs(self.firsts[key], self.seconds[key])
        return self.firsts[key], self.seconds[key]
