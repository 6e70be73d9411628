"""Gradients beside central differences, element by element."""

from collections.abc import Callable, Sequence

import numpy as np

from kbp._utils.types import Tensor
from kbp.diagnostics import backends
from kbp.diagnostics.gradient_check import RIGHT, VariableCheck

_KINK = 0.02  # of what the sides are apart: the middle is off by more
_EPSILON = float(np.finfo("float64").eps)


def compare(
    function: Callable[[list[Tensor]], Tensor],
    names: Sequence[str],
    values: Sequence[np.ndarray],
    *,
    samples: int,
    step: float | None,
    seed: int,
) -> tuple[VariableCheck, ...]:
    """Return what is found of each argument of a function.

    An element `w` moves by `cbrt(epsilon) max(|w|, rms)`, with the root mean
    square of its argument, which balances what the differences lose by rounding
    and by the third derivative; by `cbrt(epsilon)` where all are 0.

    Args:
        function: of a list of float64 tensors, gives a scalar.
        names: of its arguments.
        values: where it is differentiated, float64.
        samples: elements of an argument that are compared at most.
        step: by which elements move, instead of the above.
        seed: of the choice of elements.

    Raises:
        ValueError: the function gives no finite scalar.
    """
    backend, rng = backends.of_keras(), np.random.default_rng(seed)
    convert = backend.tensor
    tensors = [convert(x) for x in values]
    value, gradients = backend.differentiated(function, tensors)(tensors)
    here = np.asarray(value)
    if here.shape != () or not np.isfinite(here):
        raise ValueError(
            "The loss must be one finite number. Received: "
            f"{here if here.shape == () else here.shape}"
        )
    run = backend.compiled(function, tensors)
    middle, found = float(here), []
    for place, (name, array) in enumerate(zip(names, values, strict=True)):
        size = array.size
        chosen = np.arange(size)
        if size > samples:
            chosen = np.sort(rng.choice(size, samples, replace=False))
        flat = array.ravel()
        scale = float(np.sqrt(np.mean(np.square(flat)))) if size else 0.0

        sides = np.zeros((len(chosen), 2))  # slopes before and behind
        for row, index in enumerate(chosen):
            own = flat[index]
            by = step or np.cbrt(_EPSILON) * (max(abs(own), scale) or 1.0)
            for side, end in enumerate((own - by, own + by)):
                moved = flat.copy()
                moved[index] = end
                there = [*tensors]
                there[place] = convert(moved.reshape(array.shape))
                sides[row, side] = (float(run(there)) - middle) / (end - own)
        slopes = np.asarray(gradients[place], "float64").ravel()[chosen]
        moves = step or np.cbrt(_EPSILON) * (scale or 1.0)
        found.append(
            _judged(name, size, slopes, sides, _EPSILON * abs(middle) / moves)
        )
    return tuple(found)


def _judged(
    name: str,
    size: int,
    slopes: np.ndarray,
    sides: np.ndarray,
    rounding: float,
) -> VariableCheck:
    """Return what a variable's slopes say.

    Args:
        name: of the variable.
        size: number of its elements.
        slopes: elements of its gradient.
        sides: one-sided differences before and behind each of them.
        rounding: error of a difference by that of the loss.
    """
    middle = sides.mean(axis=1)
    apart = np.abs(slopes - middle)
    noise = 8 * rounding
    # A kink on one side moves the middle by half of what the sides are apart.
    # Where the loss is smooth they are apart by the step times the curvature,
    # and the middle is off by the step's square.
    jump = np.abs(sides[:, 1] - sides[:, 0])
    off = apart > RIGHT * (np.abs(slopes) + np.abs(middle)) + noise
    kinks = off & (apart <= jump) & (apart >= _KINK * jump)
    kept = ~kinks
    difference = np.linalg.norm(apart[kept])
    whole = np.linalg.norm(slopes[kept]) + np.linalg.norm(middle[kept])
    error = float(difference / whole) if whole else 0.0
    if error > RIGHT and difference <= noise * np.sqrt(kept.sum()):
        error = 0.0  # of a gradient of about 0
    return VariableCheck(
        name,
        size,
        int(kept.sum()),
        int(kinks.sum()),
        error,
    )
