"""Whether examples hold what a training in float32 can learn from."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from kbp._utils.examples import Batch
from kbp.errors import UserError

# Above, the square of an error is infinite in float32.
MOST = float(np.sqrt(np.finfo("float32").max))


def check_values(
    batch: Batch, what: str, before: int = 0, names: Sequence[str] = ()
) -> None:
    """Raise a UserError for values that no training survives.

    Args:
        batch: examples.
        what: what the examples are, for the message.
        before: how many examples came before the batch.
        names: of the inputs.

    Raises:
        UserError: a value is not finite in float32, a target is so large that
            its square is not, or a weight is negative.
    """
    for part in ("inputs", "targets", "weights"):
        for place, value in enumerate(keras.tree.flatten(getattr(batch, part))):
            array = np.asarray(value)
            if array.dtype.kind not in "fiu":
                continue
            several = part == "inputs" and len(names) > 1
            where = f"input {names[place]!r}" if several else f"the {part}"
            for problem, wrong in _wrong(array, part):
                if wrong.any():
                    rows = wrong.reshape(len(wrong), -1).any(axis=1)
                    count = int(rows.sum())
                    raise UserError(
                        f"{what} hold {problem} in {count} "
                        f"example{'s' * (count > 1)}, first in {where} of "
                        f"example {before + int(np.argmax(rows))}."
                    )


def _wrong(array: np.ndarray, part: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what may be wrong with numbers, and which of them are."""
    if array.dtype.kind == "f":
        yield "NaN or infinite values", ~np.isfinite(array)
        with np.errstate(over="ignore"):
            single = array.astype("float32")
        yield "values that are infinite in float32", ~np.isfinite(single)
        if part == "targets":
            yield (
                f"values beyond {MOST:.2g}, whose squares are infinite "
                "in float32,",
                np.abs(single) > MOST,
            )
    if part == "weights":
        yield "negative values", array < 0


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
        has, axes = zip(
            *(_parts(getattr(x, part)) for x in (first, batch)), strict=True
        )
        if has[0] != has[1]:
            raise UserError(
                f"{what} must have {part} in all batches or in none: the first "
                f"has {has[0]}, batch {place} has {has[1]}."
            )
        if axes[0] != axes[1]:
            raise UserError(
                f"{what} must have {part} of as many axes in all batches: "
                f"the first has {axes[0]}, batch {place} has {axes[1]}."
            )


def _parts(value: Any) -> tuple[str, str]:
    """Return whether there is a value, and how many axes its arrays have."""
    axes = [str(np.ndim(x)) for x in keras.tree.flatten(value)]
    return "no" if value is None else "some", " and ".join(axes)
