"""What image files were like that a model learned from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from kbp.data.images.resizing import RESIZES
from kbp.errors import UserError

WHITE_LEVEL = 65535  # of 16 bits, where nothing else is known
_WHITE_OF_BYTES = 255
_SMALL = 4  # what reaches less than one of so many parts is nearly black
_NAMED = 3


@dataclass(frozen=True)
class ImageFacts:
    """What the values of one file are.

    Attributes:
        bits: 8, or 16 for all that has more.
        color: whether it is of color, and not grey throughout.
        largest: of its values.
    """

    bits: int
    color: bool
    largest: int

    @property
    def kind(self) -> str:
        """Bits and color, in words."""
        return f"{self.bits}-bit {'color' if self.color else 'grey'}"


def is_colored(pixels: np.ndarray) -> bool:
    """Say whether an image is of color beyond what JPEG files blur.

    Args:
        pixels: bytes `(height, width, channels)`.
    """
    if pixels.shape[-1] == 1:
        return False
    red, green, blue = np.moveaxis(pixels[..., :3].astype("int16"), -1, 0)
    gap = np.maximum(abs(red - green), abs(green - blue))
    return bool((gap > 8).any())


@dataclass(frozen=True)
class ImageKinds:
    """What the images of a data set are.

    Attributes:
        white_level: value of white in images of more than 8 bits.
        largest: value of each kind of image, by its name, such as
            "16-bit grey".
        resize: how they got the size of the model's input, one of `RESIZES`;
            `""` where it is not known, or they have kept theirs.

    Example:
    >>> facts = [ImageFacts(16, False, 4051), ImageFacts(8, True, 255)]
    >>> kinds = ImageKinds.of(facts, 65535)
    >>> kinds.largest
    {'16-bit grey': 4051, '8-bit color': 255}
    >>> ImageKinds.from_json(kinds.to_json()) == kinds
    True
    """

    white_level: int
    largest: Mapping[str, int]
    resize: str = ""

    @classmethod
    def of(
        cls, facts: Sequence[ImageFacts], white_level: int = WHITE_LEVEL
    ) -> "ImageKinds":
        """Return the kinds of some files, the first one first."""
        found: dict[str, int] = {}
        for each in facts:
            found[each.kind] = max(each.largest, found.get(each.kind, 0))
        return cls(white_level, found)

    def __add__(self, others: "ImageKinds") -> "ImageKinds":
        """Return the kinds of these files and of others of their white."""
        found = dict(self.largest)
        for kind, largest in others.largest.items():
            found[kind] = max(largest, found.get(kind, 0))
        return replace(self, largest=found)

    def to_json(self) -> str:
        """Return the text of a file to keep beside a model."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "ImageKinds":
        """Read the text of such a file.

        Raises:
            UserError: it is of another kind.
        """
        try:
            held = json.loads(text)
            white, largest = held["white_level"], held["largest"]
            values = [white, *largest.values()]
            if not all(isinstance(x, int) for x in values):
                raise ValueError("holds what is no whole number")
            resize = held.get("resize", "")
            if resize not in ("", *RESIZES):
                raise ValueError(f"resize is {resize!r}")
            return cls(white, dict(largest), resize)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"does not say what the images were like: {error}"
            ) from error

    def too_dark(self) -> list[str]:
        """Say which images use so little of their range as to look black."""
        found = []
        for bits, white in ((16, self.white_level), (8, _WHITE_OF_BYTES)):
            largest = self._reach(bits)
            if largest is None or largest * _SMALL >= white:
                continue
            said = (
                f"The {bits}-bit images reach {largest} of {white}, so they "
                "are read as nearly black"
            )
            level = max(511, 2 ** int(largest).bit_length() - 1)
            advice = "save them brighter"
            if bits == 16:
                advice = f"if {level} is white, set data.white_level = {level}"
            found.append(f"{said}; {advice}.")
        return found

    def check(
        self, files: Sequence[Path], facts: Sequence[ImageFacts]
    ) -> list[str]:
        """Say in what new images differ from these.

        Args:
            files: the new ones.
            facts: what each is like.

        Returns:
            A sentence for each kind that is new.

        Raises:
            UserError: their values cannot mean what the model has learned.
        """
        said, new = [], ImageKinds.of(facts, self.white_level)
        if not self.largest:
            return new.too_dark()
        known = ", ".join(self.largest)
        for kind in new.largest:
            if kind in self.largest:
                continue
            own = [
                file.as_posix()
                for file, fact in zip(files, facts, strict=True)
                if fact.kind == kind
            ]
            named = ", ".join(own[:_NAMED]) + ", ..." * (len(own) > _NAMED)
            said.append(
                f"{len(own)} of {len(files)} images: {kind}, and the model "
                f"learned from {known} alone: {named}."
            )
        dark = new.too_dark()
        if new._reach(16) is not None and self._reach(16) is None and dark:
            raise UserError(f"{said[0]} {dark[0]}")
        if dark and not self.too_dark():
            said += dark
        return said

    def check_same(self, other: "ImageKinds") -> None:
        """Raise a UserError if other images mean something else by a value."""
        for bits in (8, 16):
            if (self._reach(bits) is None) != (other._reach(bits) is None):
                raise UserError(
                    f"is of {', '.join(self.largest)} images, and the data are "
                    f"{', '.join(other.largest)}, which a score would mix up"
                )
        if self._reach(16) and self.white_level != other.white_level:
            raise UserError(
                f"is of images whose data.white_level is {self.white_level}; "
                f"here it is {other.white_level}"
            )

    def _reach(self, bits: int) -> int | None:
        values = [
            value
            for kind, value in self.largest.items()
            if kind.startswith(f"{bits}-")
        ]
        return max(values, default=None)
