"""CIFAR-10, in its publisher's binary layout."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kbp._utils.config import number
from kbp.data.registry import register_dataset
from kbp.data.splits import Examples, Splits, folder_of
from kbp.errors import UserError

FOLDER = "cifar-10-batches-bin"
TRAIN_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_IMAGE_BYTES = 3 * 32 * 32
_FILE_BYTES = 10_000 * (1 + _IMAGE_BYTES)


@dataclass(frozen=True)
class Cifar10Config:
    """Keys of `[data]` for `name = "cifar10"`, see `load`."""

    validation_fraction: float = number(0.1, 0, below=0.5)


@register_dataset("cifar10", config=Cifar10Config, task="classification")
def load_config(config: Cifar10Config, data_dir: str | Path | None) -> Splits:
    """Load what a recipe asks for, see `load`."""
    return load(data_dir, **vars(config))


def load(
    data_dir: str | Path | None, *, validation_fraction: float = 0.1
) -> Splits:
    """Load CIFAR-10: 50,000 training and 10,000 test images, 32x32x3.

    Args:
        data_dir: folder that holds `cifar-10-batches-bin`.
        validation_fraction: share of the training images, the last of them,
            that is for validation.

    Returns:
        Images `(examples, 32, 32, 3)` in [0, 1].

    Raises:
        UserError: a file is missing or has the wrong size.

    Reference:
        Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """
    folder = folder_of("CIFAR-10", FOLDER, data_dir)
    paths = [folder / name for name in (*TRAIN_FILES, "test_batch.bin")]
    for path in paths:
        if not path.is_file():
            raise UserError(
                f"{path}: missing. Unpack CIFAR-10's binary version there."
            )
        if path.stat().st_size != _FILE_BYTES:
            raise UserError(
                f"{path}: expected {_FILE_BYTES} bytes, found "
                f"{path.stat().st_size}."
            )
    *train, test = (_read(path) for path in paths)
    inputs = np.concatenate([part.inputs for part in train])
    labels = np.concatenate([part.labels for part in train])
    border = len(labels) - round(validation_fraction * len(labels))
    return Splits(
        Examples(inputs[:border], labels[:border]),
        Examples(inputs[border:], labels[border:]),
        test,
        CLASS_NAMES,
    )


def _read(path: Path) -> Examples:
    records = np.fromfile(path, np.uint8).reshape(-1, 1 + _IMAGE_BYTES)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Examples(
        images.astype("float32") / 255.0, records[:, 0].astype("int64")
    )
