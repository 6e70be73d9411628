"""A layer that takes the rows of a table as they are."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kbp._utils.arguments import check_integer
from kbp._utils.types import Shape, Tensor
from kbp.layers.standardization import WithStatistics


@keras.saving.register_keras_serializable(package="kbp")
class TableEncoding(WithStatistics):
    """Standardize the numbers of a table's rows, one-hot encode the categories.

        z_j = clip((x_j - mean_j) / deviation_j, -limit, limit)     numbers
        z_jk = 1 if x_j = k else 0,    k = 1 ... categories_j       categories

    A category that is not known is 0 in the row, or any other whole number, and
    has zeros alone, so it adds nothing to the next layer. The limit keeps one
    outlier from widening the range in which all columns are rounded to eight
    bits. Means and deviations are set by `set_statistics`, 0 and 1 before. The
    layer computes in float32 whatever its precision is: numbers may have any
    unit.

    Args:
        categories: of each column, how many categories it has; 0 for a column
            of numbers.
        limit: largest standardized number.

    Call arguments:
        inputs: tensor `(batch, columns)`, categories by their numbers from 1.

    Returns:
        Tensor `(batch, features)`: the numbers, in the order of their columns,
        then the categories.

    Raises:
        ValueError: there are no columns, a number of categories is negative or
            no whole number, the limit is not positive, or the inputs have
            another number of columns.

    Example:
    >>> import numpy as np, kbp
    >>> layer = kbp.layers.TableEncoding([0, 2])
    >>> layer.build((None, 2))
    >>> layer.set_statistics(mean=[1e6], deviation=[1e5])
    >>> layer(np.array([[1.2e6, 1], [1e6, 2], [9e6, 0]])).numpy()
    array([[2., 1., 0.],
           [0., 0., 1.],
           [4., 0., 0.]], dtype=float32)
    """

    def __init__(
        self, categories: Sequence[int], *, limit: float = 4.0, **kwargs: Any
    ):
        super().__init__(**kwargs)
        if not len(categories):
            raise ValueError(
                "Argument `categories` must hold a number for each column. "
                f"Received: categories={categories}"
            )
        for count in categories:
            check_integer(0, categories=count)
        if not limit > 0:
            raise ValueError(
                f"Argument `limit` must be positive. Received: limit={limit}"
            )
        self.categories = [*map(int, categories)]
        self.limit = limit
        counts = np.array(self.categories)
        places = np.arange(len(counts), dtype="int32")
        self._numbers = places[counts == 0]
        # Of each category its column, and its number there.
        self._columns = places.repeat(counts)
        codes = [np.arange(1, n + 1, dtype="float32") for n in counts]
        self._codes = np.concatenate(codes)

    def build(self, input_shape: Shape) -> None:
        if input_shape[-1] != len(self.categories):
            raise ValueError(
                "Argument `inputs` must have the columns of `categories`, "
                f"{len(self.categories)}. Received: shape {tuple(input_shape)}"
            )
        self.add_statistics(len(self._numbers))

    def call(self, inputs: Tensor) -> Tensor:
        x = ops.cast(inputs, "float32")
        parts = []
        if len(self._numbers):
            numbers = x
            if len(self._numbers) < len(self.categories):
                numbers = ops.take(x, self._numbers, axis=1)
            z = (numbers - self.mean) / self.deviation
            parts.append(ops.clip(z, -self.limit, self.limit))
        if len(self._columns):
            # Arithmetic, because microcontrollers have no one-hot operation.
            y = ops.take(x, self._columns, axis=1)
            gaps = ops.abs(y - self._codes)
            parts.append(1.0 - ops.minimum(gaps, 1.0))
        z = ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        return ops.cast(z, self.compute_dtype)  # (batch, features)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], len(self._numbers) + len(self._columns))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "categories": self.categories,
            "limit": self.limit,
        }
