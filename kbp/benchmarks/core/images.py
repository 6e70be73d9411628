"""CIFAR-10 as the races use it for training and evaluation."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kbp import data, export
from kbp.data.datasets import cifar10


class Images:
    """CIFAR-10, each color normalized by the training images.

    Args:
        data_dir: the folder that holds CIFAR-10.

    Attributes:
        train: the training examples.
        splits: the examples to evaluate on, `"validation"` and `"test"`.
    """

    def __init__(self, data_dir: str | None):
        splits = cifar10.load(data_dir)
        mean = splits.train.inputs.mean((0, 1, 2))
        scale = splits.train.inputs.std((0, 1, 2))
        self.train, *rest = (
            data.Examples((split.inputs - mean) / scale, split.labels)
            for split in (splits.train, splits.validation, splits.test)
        )
        self.splits = dict(zip(("validation", "test"), rest, strict=True))

    def batches(
        self, batch_size: int, *, seed: int, start_step: int = 0
    ) -> tf.data.Dataset:
        """Return an endless data set of flipped and shifted images."""
        return data.training_batches(
            self.train,
            batch_size,
            seed=seed,
            start_step=start_step,
            augment=data.crop_and_flip(padding=2),
        )


def first(examples: data.Examples, count: int) -> data.Examples:
    """Return the first examples, at most so many."""
    return examples.take(np.arange(min(count, len(examples))))


def file_accuracy(path: Path, examples: data.Examples) -> float:
    """Return a .tflite file's accuracy."""
    logits = export.Runner(path).predict(examples.inputs)
    return float(np.mean(logits.argmax(axis=-1) == examples.labels))


def accuracy(model: keras.Model, examples: data.Examples) -> float:
    """Return the accuracy of a model, of Keras or tf_keras, at inference."""
    logits = [
        model.predict_on_batch(examples.inputs[start : start + 500])
        for start in range(0, len(examples), 500)
    ]
    predicted = np.argmax(np.concatenate(logits), axis=-1)
    return float(np.mean(predicted == examples.labels))
