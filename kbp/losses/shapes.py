"""Labels and outputs of one shape."""

from keras import ops

from kbp._utils.arguments import sizes_match
from kbp._utils.types import Tensor


def alike(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Return labels and outputs of one shape, `(batch, ..., numbers)`.

    As in Keras's losses, either may lack a last axis of size 1. Broadcast
    against each other, each label would be compared with each output.

    Raises:
        ValueError: they differ in more than that.
    """
    shapes = y_true.shape, y_pred.shape
    rank = max(2, *map(len, shapes))
    y_true, y_pred = (
        ops.expand_dims(x, -1) if len(x.shape) == rank - 1 else x
        for x in (ops.cast(y_true, y_pred.dtype), y_pred)
    )
    if not sizes_match(y_true.shape, y_pred.shape):
        raise ValueError(
            "Arguments `y_true` and `y_pred` must have one shape. "
            f"Received: shapes {shapes[0]} and {shapes[1]}"
        )
    return y_true, y_pred
