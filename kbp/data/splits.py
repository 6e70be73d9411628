"""What every data set gives."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kbp.data.images.kinds import ImageKinds
from kbp.data.lazy import Lazy, looked_up
from kbp.errors import UserError

Tensor = Any  # TensorFlow has no types
# Of indices, the inputs and labels of these examples, and perhaps weights.
Lookup = Callable[[Tensor], tuple[Tensor, ...]]
# Of a batch's inputs and labels and a seed, both as they are changed; also of
# `kbp.data.shares.Rows` if it is a part of a batch.
Augment = Callable[..., tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Examples:
    """Inputs and labels of one split.

    Each is an array, or a `Lazy` one that is read when it is needed.

    Attributes:
        inputs: float32 `(examples, ...)`; or uint8, as of images, of which 0 to
            255 stand for 0 to 1 and take a quarter of the memory.
        labels: integers `(examples,)` for classes, or
            `(examples, height, width)` for masks; floats for numbers.
        names: what each example is called, such as its file; perhaps none.

    Example:
    >>> import numpy as np
    >>> from kbp.data import Examples
    >>> examples = Examples(np.zeros((4, 8, 8, 1), "uint8"), np.arange(4))
    >>> len(examples), examples.take(np.array([2, 0])).labels
    (4, array([2, 0]))
    """

    inputs: Any
    labels: Any
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Examples":
        """Return the examples of some indices."""
        names = tuple(np.array(self.names)[indices]) if self.names else ()
        inputs, labels = (
            x.view(indices) if isinstance(x, Lazy) else x[indices]
            for x in (self.inputs, self.labels)
        )
        return Examples(inputs, labels, names)

    def lookup(self) -> Lookup:
        """Return `lookup(indices) -> (inputs, labels)`, all of them tensors."""
        inputs, labels = looked_up(self.inputs), looked_up(self.labels)

        def lookup(indices: Tensor) -> tuple[Tensor, Tensor]:
            found = inputs(indices)
            if found.dtype == tf.uint8:
                found = tf.cast(found, tf.float32) / 255.0
            return found, labels(indices)

        return lookup


@dataclass(frozen=True)
class Splits:
    """A data set, split.

    Hyper-parameters are chosen on `validation`; `test` is for the result.

    Attributes:
        train: what a model learns from.
        validation: what its training is watched on; it may be empty.
        test: what it is judged on.
        class_names: in the order of the classes; without classes, none.
        remarks: sentences about the files, which are said before training.
        images: what the images were like as files, if they were.
        kept: a sentence, where the examples are if they are not in memory.

    Example:
    >>> import numpy as np
    >>> from kbp.data import Examples, Splits
    >>> few = Examples(np.zeros((4, 8, 8, 1), "float32"), np.arange(4) % 2)
    >>> Splits(few, few, few, class_names=("no", "yes")).input_shape
    (8, 8, 1)
    """

    train: Examples
    validation: Examples
    test: Examples
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    images: ImageKinds | None = None
    kept: str = ""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.train.inputs.shape[1:]


def as_floats(inputs: Any) -> Any:
    """Return inputs as `Examples.lookup` gives them: bytes as 0 to 1.

    Args:
        inputs: of `Examples`.

    Example:
    >>> as_floats(np.array([0, 51, 255], "uint8"))
    array([0. , 0.2, 1. ], dtype=float32)
    """
    if inputs.dtype != np.uint8:
        return inputs
    if isinstance(inputs, Lazy):
        return inputs.map(as_floats, inputs.shape[1:], "float32")
    return inputs / np.float32(255)


def folder_of(
    title: str, name: str, data_dir: str | Path | None, files: str = ""
) -> Path:
    """Return the folder of a data set that is read from files.

    Args:
        title: of the data set.
        name: of its folder.
        data_dir: what holds the folder.
        files: what the folder must hold, in words; if empty, the caller looks
            whether it is there.

    Raises:
        UserError: there is no data directory, or no such folder in it.
    """
    if data_dir is None:
        raise UserError(
            f"{title} needs a data directory: give `data_dir=` or set KBP_DATA "
            f"to the folder that holds {name}/."
        )
    folder = Path(data_dir) / name
    if files and not folder.is_dir():
        raise UserError(f"{folder}: no such folder. It must hold {files}.")
    return folder
