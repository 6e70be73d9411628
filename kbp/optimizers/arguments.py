"""Checks of the optimizer's arguments, those of every Keras optimizer too."""

import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any

import keras

# For each argument that is a number, what it must be, in words and as a test.
_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "beta_1": ("in [0, 1)", lambda x: 0 <= x < 1),
    "beta_2": ("in [0, 1)", lambda x: 0 <= x < 1),
    "epsilon": ("positive and finite", lambda x: x > 0),
    "amsgrad_decay": ("in [0, 1]", lambda x: 0 <= x <= 1),
    "preconditioner_power": ("in [0, 1]", lambda x: 0 <= x <= 1),
    "learning_rate": ("finite and not negative", lambda x: x >= 0),
    "weight_decay": ("finite and not negative", lambda x: x >= 0),
    "clipnorm": ("positive and finite", lambda x: x > 0),
    "global_clipnorm": ("positive and finite", lambda x: x > 0),
    "clipvalue": ("positive and finite", lambda x: x > 0),
    "loss_scale_factor": ("positive and finite", lambda x: x > 0),
    "ema_momentum": ("in [0, 1]", lambda x: 0 <= x <= 1),
}
# The least normal float32, 1e-38, over 1 - beta_2 has a root of at most this
# if beta_2 is 0.99999999 or less.
_LEAST_EPSILON = 1e-15
_INTEGERS = (
    *("average_from", "ema_overwrite_frequency"),
    "gradient_accumulation_steps",
)


def check_numbers(**arguments: Any) -> None:
    """Raise a ValueError that names the first argument out of its range."""
    for name, value in arguments.items():
        wanted, is_right = _RANGES[name]
        is_number = isinstance(value, numbers.Real) and not isinstance(
            value, bool
        )
        if not (is_number and math.isfinite(value) and is_right(value)):
            raise ValueError(
                f"Argument `{name}` must be {wanted}. Received: {name}={value}"
            )


def check_integers(**arguments: Any) -> None:
    """Raise a ValueError for the first that is no integer of 1 or more."""
    for name, value in arguments.items():
        is_integer = isinstance(value, numbers.Integral)
        if not is_integer or isinstance(value, bool) or value < 1:
            raise ValueError(
                f"Argument `{name}` must be an integer of 1 or more. "
                f"Received: {name}={value}"
            )


def check_variables(
    variables: Iterable[keras.Variable], epsilon: float
) -> None:
    """Raise a ValueError for one in whose numbers steps cannot be taken.

    Args:
        variables: the trainable variables.
        epsilon: added to the root of the mean of squares.
    """
    for variable in variables:
        dtype = keras.backend.standardize_dtype(variable.dtype)
        if "float" not in dtype:
            raise ValueError(
                f"Variable {variable.name} is of {dtype}, and steps are "
                "fractions: give it a floating-point type, or trainable=False."
            )
        if epsilon < _LEAST_EPSILON and dtype != "float64":
            raise ValueError(
                f"Argument `epsilon` must be {_LEAST_EPSILON} or more for "
                f"variables of {dtype}, as {variable.name}: squares of smaller "
                "gradients are zero there, which would be divided by epsilon "
                f"alone. Received: epsilon={epsilon}"
            )
        if dtype == "float16":
            raise ValueError(
                f"Variable {variable.name} is of float16, where the squares of "
                "small gradients are zero. Give its layer the dtype policy "
                '"mixed_float16", whose weights are of float32.'
            )


def check_common(**arguments: Any) -> None:
    """Raise a ValueError for an argument of Keras's that is out of range.

    Keras takes any number there, and clips by what is none.

    Args:
        **arguments: of `keras.optimizers.Optimizer`; `None` leaves one out.
    """
    for name, value in arguments.items():
        if value is None:
            continue
        if name in _INTEGERS:
            check_integers(**{name: value})
        elif name in _RANGES:
            check_numbers(**{name: value})
        elif name == "use_ema" and not isinstance(value, bool):
            raise ValueError(
                f"Argument `use_ema` must be a bool. Received: use_ema={value}"
            )
