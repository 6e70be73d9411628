"""Limits of a file's storage and memory."""

import re
from dataclasses import dataclass

from kbp.errors import BoundError, UserError
from kbp.export.memory.footprint import Footprint

UNITS = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "KiB": 1024,
    "MiB": 1024**2,
}
KINDS = ("flash", "ram")
_PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)([A-Za-z]+):([a-z]+)")
_FORM = (
    "a budget is SIZE:flash, SIZE:ram or both with a comma between, such as "
    f"256kB:flash,64kB:ram; units are {', '.join(UNITS)}"
)


@dataclass(frozen=True)
class Budget:
    """The storage and the memory that a file may take.

    Attributes:
        flash: bytes of the file; `None` for any number.
        ram: bytes of its activations, or of TFLite Micro's arena where that is
            installed; `None` for any number.

    Example:
    >>> Budget.parse("256kB:flash,64KiB:ram")
    Budget(flash=256000, ram=65536)
    """

    flash: int | None = None
    ram: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read a budget such as `"256kB:flash,64kB:ram"`.

        Args:
            text: sizes with their units and kinds; 1 kB is 1000 bytes, 1 KiB
                is 1024.

        Raises:
            UserError: the text is of another form.
        """
        found: dict[str, int] = {}
        for part in text.split(","):
            match = _PART.fullmatch(part.strip())
            if not match or match[2] not in UNITS or match[3] not in KINDS:
                raise UserError(f"{part.strip()!r}: {_FORM}")
            if match[3] in found:
                raise UserError(f"{text!r} names {match[3]} twice: {_FORM}")
            found[match[3]] = int(float(match[1]) * UNITS[match[2]])
        return cls(**found)

    def check(self, taken: Footprint, name: str) -> None:
        """Refuse a file that takes more.

        Args:
            taken: by the file.
            name: of the file, for the message.

        Raises:
            BoundError: it takes more; the message names the largest layer, or
                the operation that needs most memory.
        """
        said = []
        if self.flash is not None and taken.size > self.flash:
            said.append(_flash(taken, self.flash))
        if self.ram is not None and taken.memory > self.ram:
            said.append(_ram(taken, self.ram))
        if said:
            raise BoundError(f"{name} is over its budget: {'; '.join(said)}")


def said_of_ram(taken: Footprint, most: int) -> str:
    """Say what a file takes of its memory, and how that is known.

    Args:
        taken: by the file.
        most: bytes that it may take.
    """
    words = f"RAM: {taken.memory:,} of {most:,} bytes"
    if taken.measured:
        return f"{words}, measured in TFLite Micro."
    return (
        f"{words}, for activations alone: a runtime adds tables of its own, "
        "which kbp[micro] measures."
    )


def _flash(taken: Footprint, most: int) -> str:
    words = f"{taken.size:,} bytes of flash, {most:,} are given"
    largest = taken.largest
    size = largest.size if largest else 0
    if largest and size:
        words = f"{words}; its largest layer is {largest.name} ({size:,})"
    if size < taken.rest:
        words = f"{words}; {taken.rest:,} are no weights but tables and texts"
    return words


def _ram(taken: Footprint, most: int) -> str:
    by = "in TFLite Micro" if taken.measured else "for activations alone"
    words = f"{taken.memory:,} bytes of ram {by}, {most:,} are given"
    if not taken.operation:
        return words
    return (
        f"{words}; most is needed at {taken.operation} of {taken.layer} "
        f"({taken.peak:,})"
    )
