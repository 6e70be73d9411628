"""Handwritten digits that come with scikit-learn."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from kbp._utils.config import number
from kbp.data.registry import register_dataset
from kbp.data.splits import Examples, Splits
from kbp.errors import UserError


@dataclass(frozen=True)
class DigitsConfig:
    """Keys of `[data]` for `name = "digits"`, see `load`."""

    image_size: int = number(32, 8, 256)
    validation_fraction: float = number(0.1, 0, below=0.5)
    test_fraction: float = number(0.2, above=0, below=1)
    split_seed: int = number(0, 0, 2**32 - 1)


@register_dataset(
    "digits", config=DigitsConfig, task="classification", in_data_dir=False
)
def load_config(config: DigitsConfig, data_dir: str | Path | None) -> Splits:
    """Load what a recipe asks for, see `load`.

    Raises:
        UserError: a split would be without one of the classes.
    """
    try:
        return load(**vars(config))
    except ValueError as error:  # scikit-learn's
        raise UserError(f"[data] {error}") from error


def load(
    *,
    image_size: int = 32,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
    split_seed: int = 0,
) -> Splits:
    """Load 1,797 images of handwritten digits, 8x8, enlarged.

    Args:
        image_size: height and width after bilinear enlargement, in pixels.
        validation_fraction: share of what is not test.
        test_fraction: share of all images.
        split_seed: of both splits, which keep the classes' proportions.

    Returns:
        Images `(examples, image_size, image_size, 1)` in [0, 1].

    Reference:
        Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI
        Machine Learning Repository, 1998 (its test set).
    """
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype("float32") / 16.0
    images = keras.ops.convert_to_numpy(
        keras.ops.image.resize(images, (image_size, image_size))
    )
    examples = Examples(images, labels.astype("int64"))
    rest, test = _split(
        np.arange(len(labels)), examples.labels, test_fraction, split_seed
    )
    train, validation = _split(
        rest, examples.labels, validation_fraction, split_seed
    )
    return Splits(
        examples.take(train),
        examples.take(validation),
        examples.take(test),
        tuple("0123456789"),
    )


def _split(
    indices: np.ndarray, labels: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    if not fraction:
        return indices, indices[:0]
    first, second = train_test_split(
        indices,
        test_size=fraction,
        random_state=seed,
        stratify=labels[indices],
    )
    return np.sort(first), np.sort(second)
