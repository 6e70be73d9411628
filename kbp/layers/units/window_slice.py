"""Part of the rows and columns of a window."""

from typing import Any

import keras
from keras import ops

from kbp._utils.types import Shape, Tensor
from kbp.layers.units.wide import WideLayer


@keras.saving.register_keras_serializable(package="kbp")
class WindowSlice(WideLayer):
    """Return some of a window's rows and columns, in the data's own units.

    An 8-bit file takes values of any units in float. A slice of `keras.ops`
    would round all of them to one range first.

    Args:
        rows: the first row, and the one after the last.
        columns: the first column, and the one after the last.

    Call arguments:
        inputs: tensor `(batch, time, columns)`.

    Returns:
        Tensor `(batch, rows, columns)`.

    Raises:
        ValueError: a pair does not rise, or the input has fewer rows or
            columns.

    Example:
    >>> import numpy as np, kbp
    >>> x = np.arange(12.0).reshape(1, 4, 3)
    >>> kbp.layers.WindowSlice((1, 3), (0, 2))(x).numpy()
    array([[[3., 4.],
            [6., 7.]]], dtype=float32)
    """

    def __init__(
        self, rows: tuple[int, int], columns: tuple[int, int], **kwargs: Any
    ):
        super().__init__(**kwargs)
        for name, (begin, end) in (("rows", rows), ("columns", columns)):
            if not 0 <= begin < end:
                raise ValueError(
                    f"Argument `{name}` must be two rising numbers. "
                    f"Received: {name}={(begin, end)}"
                )
        self.rows, self.columns = tuple(rows), tuple(columns)

    def build(self, input_shape: Shape) -> None:
        _, time, width = input_shape
        for name, (_, end), size in (
            ("rows", self.rows, time),
            ("columns", self.columns, width),
        ):
            if size is not None and end > size:
                raise ValueError(
                    f"Argument `{name}` must be within the input's {size}. "
                    f"Received: {name}={getattr(self, name)}"
                )

    def call(self, inputs: Tensor) -> Tensor:
        x = ops.cast(inputs, self.wide)
        return x[:, slice(*self.rows), slice(*self.columns)]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        rows, columns = (
            end - begin for begin, end in (self.rows, self.columns)
        )
        return (input_shape[0], rows, columns)

    def get_config(self) -> dict[str, Any]:
        own = {"rows": list(self.rows), "columns": list(self.columns)}
        return {**super().get_config(), **own}
