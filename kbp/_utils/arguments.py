"""Checks of arguments that raise errors in Keras's wording."""

import math
import numbers
from collections.abc import Sequence
from typing import Any, TypeGuard


def check_one_of(known: Sequence[Any], **arguments: Any) -> None:
    """Raise a ValueError for the first argument that is not in `known`."""
    for name, value in arguments.items():
        if value not in known:
            raise ValueError(
                f"Argument `{name}` must be one of {known}. "
                f"Received: {name}={value!r}"
            )


def check_integer(least: int = 1, **arguments: Any) -> None:
    """Raise a ValueError for the first that is no integer, or below `least`."""
    for name, value in arguments.items():
        if not isinstance(value, numbers.Integral) or value < least:
            raise ValueError(
                f"Argument `{name}` must be a whole number, {least} or more. "
                f"Received: {name}={value!r}"
            )


def check_limit(**arguments: Any) -> None:
    """Raise a ValueError for the first that is no number, or negative."""
    for name, value in arguments.items():
        if not _is_number(value) or not value >= 0:
            raise ValueError(
                f"Argument `{name}` must not be negative, and a number. "
                f"Received: {name}={value!r}"
            )


def check_number(**arguments: Any) -> None:
    """Raise a ValueError for the first that is no number."""
    for name, value in arguments.items():
        if not _is_number(value):
            raise ValueError(
                f"Argument `{name}` must be a number. "
                f"Received: {name}={value!r}"
            )


def check_penalty(**arguments: Any) -> None:
    """Raise a ValueError for the first that is negative or not finite."""
    for name, value in arguments.items():
        if not _is_number(value) or not 0 <= value < math.inf:
            raise ValueError(
                f"Argument `{name}` must not be negative, and finite. "
                f"Received: {name}={value!r}"
            )


def check_rate(**arguments: Any) -> None:
    """Raise a ValueError for the first rate of dropout outside [0, 1)."""
    for name, value in arguments.items():
        if not _is_number(value) or not 0 <= value < 1:
            raise ValueError(
                f"Argument `{name}` must be in [0, 1). "
                f"Received: {name}={value!r}"
            )


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, numbers.Real)
