"""A layer that takes the rows of a table as they are."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kbp._utils.arguments import check_integer
from kbp._utils.types import Shape, Tensor
from kbp.layers.units.wide import WideLayer


@keras.saving.register_keras_serializable(package="kbp")
class TableEncoding(WideLayer):
    """Bring numbers of any unit to one size, and one-hot encode categories.

        z_j  = h_j(x_j)                     numbers
        z_jk = 1 if x_j = k else 0          categories, k = 1, 2, ...

    `h_j` is the line through the points `(knot_j1, height_j1)`,
    `(knot_j2, height_j2)`, ..., and constant beyond them. Two points
    standardize a column; more of them also straighten a column with a long
    tail, of which eight bits could not tell most values apart. The points are
    set by `set_knots`; before, `h_j(x) = x` from -4 to 4.

    A category that is not known is 0 in the row, or any other whole number, and
    has zeros alone, so it adds nothing to the next layer. The layer computes in
    float32 whatever its precision is: numbers may have any unit.

    Args:
        categories: of each column, how many categories it has; 0 for a column
            of numbers.
        num_knots: largest number of points of a column of numbers.

    Call arguments:
        inputs: tensor `(batch, columns)`, categories by their numbers from 1.

    Returns:
        Tensor `(batch, features)`: the numbers, in the order of their columns,
        then the categories.

    Raises:
        ValueError: there are no columns, a number of categories or knots is out
            of range, or the inputs have another number of columns.

    Example:
    >>> import numpy as np, kbp
    >>> layer = kbp.layers.TableEncoding([0, 2])
    >>> layer.build((None, 2))
    >>> layer.set_knots([[0.6e6, 1.4e6]], heights=[[-4, 4]])
    >>> layer(np.array([[1.2e6, 1], [1e6, 2], [9e6, 0]])).numpy().round(3)
    array([[2., 1., 0.],
           [0., 0., 1.],
           [4., 0., 0.]], dtype=float32)

    Reference:
        Piecewise linear maps of a table's numbers: Gorishniy et al., On
        Embeddings for Numerical Features in Tabular Deep Learning, NeurIPS
        2022.
    """

    def __init__(
        self, categories: Sequence[int], *, num_knots: int = 2, **kwargs: Any
    ):
        super().__init__(**kwargs)
        if not len(categories):
            raise ValueError(
                "Argument `categories` must hold a number for each column. "
                f"Received: categories={categories}"
            )
        for count in categories:
            check_integer(0, categories=count)
        check_integer(2, num_knots=num_knots)
        self.categories = [*map(int, categories)]
        self.num_knots = num_knots
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

        def initial(shape: Shape, dtype: str) -> Tensor:
            line = ops.linspace(-4.0, 4.0, self.num_knots, dtype=dtype)
            return ops.broadcast_to(line, shape)

        shape = (len(self._numbers), self.num_knots)
        self.add_wide_weights(shape, knots=initial, heights=initial)

    def set_knots(
        self,
        knots: Sequence[Sequence[float]],
        *,
        heights: Sequence[Sequence[float]],
    ) -> None:
        """Set the points of each column of numbers.

        Args:
            knots: of each, in the order of the columns, two values or more, in
                the column's unit and ascending in float32.
            heights: what becomes of each.

        Raises:
            ValueError: they are not ascending, or too many or few.
        """
        every = np.empty((2, *self.knots.shape), "float32")
        for column, (x, z) in enumerate(zip(knots, heights, strict=True)):
            values = np.asarray(x, "float32")
            left = self.num_knots - len(values)
            if left < 0 or len(values) < 2 or not (np.diff(values) > 0).all():
                raise ValueError(
                    f"Argument `knots` must hold 2 to {self.num_knots} "
                    f"ascending values for each column. Received: {list(x)}"
                )
            # What is left goes on beyond the last point, as high as it.
            width = values[-1] - values[0]
            further = values[-1] + width * np.arange(1, left + 1)
            every[0, column] = [*values, *further]
            every[1, column] = [*z, *[z[-1]] * left]
        self.knots.assign(every[0])
        self.heights.assign(every[1])

    def call(self, inputs: Tensor) -> Tensor:
        x = ops.cast(inputs, self.wide)
        parts = []
        if len(self._numbers):
            parts.append(self.numbers(x))
        if len(self._columns):
            # Arithmetic, because microcontrollers have no one-hot operation.
            y = ops.take(x, self._columns, axis=1)
            gaps = ops.abs(y - self._codes)
            parts.append(1.0 - ops.minimum(gaps, 1.0))
        z = ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        return ops.cast(z, self.compute_dtype)  # (batch, features)

    def numbers(self, x: Tensor) -> Tensor:
        """Return the heights of the numbers of float32 rows."""
        if len(self._numbers) < len(self.categories):
            x = ops.take(x, self._numbers, axis=1)
        first, width = self.knots[:, :-1], self.knots[:, 1:]
        width = width - first
        rise = self.heights[:, 1:] - self.heights[:, :-1]
        # Of each piece of the line, how far along it the number is.
        along = (ops.expand_dims(x, -1) - first) / width
        along = ops.clip(along, 0.0, 1.0)  # (batch, numbers, pieces)
        return ops.sum(along * rise, axis=-1) + self.heights[:, 0]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], len(self._numbers) + len(self._columns))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "categories": self.categories,
            "num_knots": self.num_knots,
        }
