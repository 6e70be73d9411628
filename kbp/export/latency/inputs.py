"""What files are given to be timed."""

from typing import Any

import numpy as np


def random_values(
    details: dict[str, Any], generator: np.random.Generator
) -> np.ndarray:
    """Return values for an input, as zeros may run faster than real ones.

    Indices are zeros: every table has a row of that number.

    Args:
        details: LiteRT's, of the input.
        generator: of the values.
    """
    is_float = np.issubdtype(details["dtype"], np.floating)
    if is_float or details["quantization"][0]:
        return generator.random(details["shape"], np.float32)
    return np.zeros(details["shape"], details["dtype"])
