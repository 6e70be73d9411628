"""A layer that keeps the backward signal within a range."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kbp._utils.arguments import check_number, check_one_of
from kbp._utils.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="kbp")
class GradientRange(keras.layers.Layer):
    """Give the inputs as they are, and keep what comes backward in a range.

    Clipping in an optimizer sees a step's gradients when all of them are known.
    This layer acts where it stands, on the gradient `g` of the loss by its
    outputs, before the layers below get it:

        by="value":  min(max(g, low), high), each element for itself
        by="norm":   g min(max(|g|, low), high) / |g|, each example for itself

    The norm is L2, over all axes but the first one. A gradient of 0 stays 0 in
    both cases. It is that of the batch's loss, a mean over examples as a rule,
    times the loss scale if there is one, so what is a good range depends on the
    batch's size.

    At inference nothing is left of the layer, and exported files are without.

    Args:
        low: least value, not positive; or least norm that is not 0, which may
            be 0.
        high: largest value, not negative; or largest norm, positive.
        by: `"value"` or `"norm"`.

    Call arguments:
        inputs: tensor `(batch, ...)` of floats.

    Returns:
        The inputs.

    Raises:
        ValueError: an argument is out of range.

    Reference:
        Pascanu, Mikolov and Bengio, On the Difficulty of Training Recurrent
        Neural Networks, ICML 2013.

    Example:
    >>> import kbp, tensorflow as tf
    >>> x = tf.constant([[0.5, 2.0]])
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(x)
    ...     y = 3 * kbp.layers.GradientRange(-1, 1)(x)
    >>> tape.gradient(y, x).numpy()
    array([[1., 1.]], dtype=float32)
    """

    def __init__(
        self, low: float, high: float, *, by: str = "value", **kwargs: Any
    ):
        super().__init__(**kwargs)
        check_one_of(("value", "norm"), by=by)
        check_number(low=low, high=high)
        fits = low <= 0 <= high if by == "value" else 0 <= low <= high
        if not (fits and low < high and math.isfinite(high - low)):
            raise ValueError(
                "Arguments `low` and `high` must be finite, low < high, "
                "with low <= 0 <= high for values and 0 <= low for norms. "
                f"Received: low={low}, high={high}, by={by!r}"
            )
        self.low, self.high, self.by = float(low), float(high), by
        self.supports_masking = True

    def call(self, inputs: Tensor) -> Tensor:
        by_value = self.by == "value"

        @ops.custom_gradient
        def same(x: Tensor) -> tuple[Tensor, Callable[..., Tensor]]:
            def gradient(*args: Tensor, upstream: Any = None) -> Tensor:
                given = args[0] if upstream is None else upstream
                if by_value:
                    return ops.clip(given, self.low, self.high)
                return _with_norm(given, self.low, self.high)

            return ops.copy(x), gradient

        return same(inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"low": self.low, "high": self.high, "by": self.by}
        return {**super().get_config(), **own}


def _with_norm(given: Tensor, low: float, high: float) -> Tensor:
    """Scale each example to a norm between two numbers, unless it is 0."""
    wide = keras.backend.result_type(given.dtype, "float32")
    x = ops.cast(given, wide)
    axes = tuple(range(1, len(x.shape)))
    # In units of the largest: squares of an exploded gradient are infinite.
    unit = ops.max(ops.abs(x), axis=axes, keepdims=True)
    unit = ops.where(unit > 0, unit, ops.ones_like(unit))
    x = x / unit
    norm = ops.sqrt(ops.sum(ops.square(x), axis=axes, keepdims=True))
    safe = ops.where(norm > 0, norm, ops.ones_like(norm))
    wanted = ops.clip(norm * unit, low, high)
    return ops.cast(x * (wanted / safe), given.dtype)
