"""Checks of arguments that raise errors in Keras's wording."""

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def check_one_of(known: Sequence[Any], **arguments: Any) -> None:
    """Raise a ValueError for the first argument that is not in `known`."""
    _check(arguments, lambda x: x in known, f"be one of {known}")


def check_integer(least: int = 1, **arguments: Any) -> None:
    """Raise a ValueError for the first that is no integer, or below `least`."""
    _check(
        arguments,
        lambda x: (
            isinstance(x, numbers.Integral)
            and not isinstance(x, bool)
            and int(x) >= least
        ),
        f"be a whole number, {least} or more",
    )


def check_limit(**arguments: Any) -> None:
    """Raise a ValueError for the first that is no number, or negative."""
    _check(
        arguments,
        lambda x: _is_number(x) and x >= 0,
        "not be negative, and a number",
    )


def check_number(**arguments: Any) -> None:
    """Raise a ValueError for the first that is no number."""
    _check(arguments, _is_number, "be a number")


def check_penalty(**arguments: Any) -> None:
    """Raise a ValueError for the first that is negative or not finite."""
    _check(
        arguments,
        lambda x: _is_number(x) and 0 <= x < math.inf,
        "not be negative, and finite",
    )


def check_positive(**arguments: Any) -> None:
    """Raise a ValueError for the first that is not above 0 and finite."""
    _check(
        arguments, lambda x: _is_number(x) and 0 < x < math.inf, "be positive"
    )


def check_rate(**arguments: Any) -> None:
    """Raise a ValueError for the first rate of dropout outside [0, 1)."""
    _check(arguments, lambda x: _is_number(x) and 0 <= x < 1, "be in [0, 1)")


def check_sequence(input_shape: Sequence[Any]) -> None:
    """Raise a ValueError for a shape that is not `(time, features)`, fixed."""
    if len(input_shape) != 2 or None in input_shape:
        raise ValueError(
            "Argument `input_shape` must be (time, features), both fixed. "
            f"Received: input_shape={input_shape}"
        )


def check_image(input_shape: Sequence[Any], stride: int) -> None:
    """Raise a ValueError for images that a stride does not divide."""
    if len(input_shape) != 3 or any(
        not size or size % stride for size in input_shape[:2]
    ):
        raise ValueError(
            "Argument `input_shape` must be (height, width, channels), height "
            f"and width divisible by {stride}. "
            f"Received: input_shape={input_shape}"
        )


def check_heads(width: int, num_heads: int) -> None:
    """Raise a ValueError for features that heads cannot share alike."""
    if width % num_heads:
        raise ValueError(
            "Argument `width` must be divisible by `num_heads`. "
            f"Received: width={width}, num_heads={num_heads}"
        )


def sizes_match(
    first: Sequence[int | None], second: Sequence[int | None]
) -> bool:
    """Say whether two shapes may be one: `None` may be any size."""
    return len(first) == len(second) and all(
        None in pair or pair[0] == pair[1]
        for pair in zip(first, second, strict=True)
    )


def _check(
    arguments: Mapping[str, Any], fits: Callable[[Any], bool], words: str
) -> None:
    for name, value in arguments.items():
        if not fits(value):
            raise ValueError(
                f"Argument `{name}` must {words}. Received: {name}={value!r}"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
