"""Inputs and outputs of .tflite files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Tensor:
    """An input or output of a .tflite file.

    Attributes:
        shape: with the batch axis.
        dtype: as NumPy names it.
        scale: of the integers, 0 of floats.
        zero_point: the integer of the value 0.
    """

    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> "Tensor":
        """Return what LiteRT's details say."""
        scale, zero_point = details["quantization"]
        return cls(
            tuple(map(int, details["shape"])),
            np.dtype(details["dtype"]).name,
            float(scale),
            int(zero_point),
        )

    def __str__(self) -> str:
        words = f"{self.dtype} {list(self.shape)}"
        if not self.scale:
            return words
        return (
            f"{words}, value = {self.scale:.8g} * (integer - {self.zero_point})"
        )
