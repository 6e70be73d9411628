"""Whether examples hold what a training in float32 can learn from."""

import keras
import numpy as np

from kbp._utils.examples import Batch
from kbp.errors import UserError

# Above, the square of an error is infinite in float32.
_MOST_TARGET = float(np.sqrt(np.finfo("float32").max))


def check_values(batch: Batch, what: str, before: int = 0) -> None:
    """Raise a UserError for values that no training survives.

    Args:
        batch: examples.
        what: what the examples are, for the message.
        before: how many examples came before the batch.

    Raises:
        UserError: a value is not finite in float32, a target is so large that
            its square is not, or a weight is negative.
    """
    for part in ("inputs", "targets", "weights"):
        for value in keras.tree.flatten(getattr(batch, part)):
            array = np.asarray(value)
            if array.dtype.kind not in "fiu":
                continue
            if array.dtype.kind == "f":
                _refuse(
                    ~np.isfinite(array),
                    f"{what} hold NaN or infinite values: the {part}",
                    before,
                )
                with np.errstate(over="ignore"):
                    lost = ~np.isfinite(array.astype("float32"))
                _refuse(
                    lost,
                    f"{what} hold values that are infinite in float32: the "
                    f"{part}",
                    before,
                )
            if part == "targets" and array.dtype.kind == "f":
                _refuse(
                    np.abs(array) > _MOST_TARGET,
                    f"{what} hold values beyond {_MOST_TARGET:.2g}, whose "
                    f"squares are infinite in float32: the {part}",
                    before,
                )
            if part == "weights":
                _refuse(array < 0, f"{what} hold negative {part}: that", before)


def check_weights(batch: Batch, what: str) -> None:
    """Raise a UserError if all the weights of a split are zero."""
    if batch.weights is None or any_weight(batch):
        return
    raise UserError(
        f"{what} have only weights of zero, so nothing can be learned or "
        "judged; leave them out, or give some that are more than 0."
    )


def any_weight(batch: Batch) -> bool:
    """Say whether an example has a weight that is not zero."""
    return any(np.any(x) for x in keras.tree.flatten(batch.weights))


def check_alike(first: Batch, batch: Batch, what: str, place: int) -> None:
    """Raise a UserError if a batch has other parts than the first one.

    Args:
        first: the first batch.
        batch: another one.
        what: what the examples are, for the message.
        place: which batch it is, from 0.
    """
    for part in ("targets", "weights"):
        has = [getattr(x, part) is not None for x in (first, batch)]
        if has[0] != has[1]:
            words = ["no", "some"]
            raise UserError(
                f"{what} must have {part} in all batches or in none: batch 0 "
                f"has {words[has[0]]}, batch {place} has {words[has[1]]}."
            )


def _refuse(wrong: np.ndarray, problem: str, before: int) -> None:
    if not wrong.any():
        return
    rows = wrong.reshape(len(wrong), -1).any(axis=1)
    raise UserError(
        f"{problem} of example {before + int(np.argmax(rows))}, of "
        f"{rows.sum()} in all."
    )
