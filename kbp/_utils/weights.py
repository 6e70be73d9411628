"""A bound on the weights of layers, kept before they have memory."""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras

from kbp.errors import UserError

_LOCK = threading.RLock()


class _Count:
    def __init__(self, most: int, most_arrays: int, words: Callable[..., str]):
        self.most, self.most_arrays, self.words = most, most_arrays, words
        self.total, self.arrays, self.refusal = 0, 0, ""

    def add(self, layer: keras.layers.Layer, shape: Any) -> None:
        sizes = (shape,) if isinstance(shape, int) else tuple(shape or ())
        self.total += math.prod(x for x in sizes if isinstance(x, int))
        self.arrays += 1
        if self.total > self.most or self.arrays > self.most_arrays:
            self.refusal = self.words(layer.name, sizes)
            raise UserError(self.refusal)


@contextlib.contextmanager
def bounded_weights(
    most: int, most_arrays: int, words: Callable[[str, tuple[int, ...]], str]
) -> Iterator[None]:
    """Let layers of this thread ask for so many weights and no more.

    Nothing else knows the shapes before the weights have memory.

    Args:
        most: numbers in all weights together.
        most_arrays: how many weights there may be, of whatever shapes.
        words: gives the message, of a layer's name and the weight's shape.

    Raises:
        UserError: a layer asks for more.
    """
    count, thread = _Count(most, most_arrays, words), threading.get_ident()
    layer = keras.layers.Layer
    with _LOCK:
        add_weight = layer.add_weight

        def counted(
            self: Any, shape: Any = None, *args: Any, **options: Any
        ) -> Any:
            if threading.get_ident() == thread:
                count.add(self, shape)
            return add_weight(self, shape, *args, **options)

        layer.add_weight = counted
        try:
            yield
        except Exception as error:
            if count.refusal:  # Keras may have wrapped it
                raise UserError(count.refusal) from error
            raise
        finally:
            layer.add_weight = add_weight
