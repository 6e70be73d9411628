"""Examples that are arrays."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kbp._utils.examples import Batch
from kbp.data.batches import evaluation_batches, training_batches
from kbp.data.feeds.base import Feed, element
from kbp.data.shares import WHOLE, Shares
from kbp.data.splits import Lookup


@dataclass(frozen=True)
class ArrayFeed(Feed):
    """Arrays, of which a batch is a function of (seed, step).

    Attributes:
        names: of the model's inputs.
        arrays: the examples.
    """

    names: tuple[str, ...]
    arrays: Batch

    def __len__(self) -> int:
        return len(self.arrays)

    def input_shapes(self) -> list[tuple[int | None, ...]]:
        return [x.shape[1:] for x in self.arrays.inputs]

    def steps(self, batch_size: int) -> int:
        return len(self) // batch_size

    def lookup(self) -> Lookup:
        """Return `lookup(indices) -> element`, of tensors."""
        with tf.device("CPU:0"):  # not in an accelerator's memory
            held = keras.tree.map_structure(
                tf.constant, element(self.arrays, self.names)
            )
        return lambda indices: keras.tree.map_structure(
            lambda x: tf.gather(x, indices), held
        )

    def training(
        self,
        batch_size: int,
        *,
        seed: int,
        start_step: int,
        shares: Shares = WHOLE,
    ) -> tf.data.Dataset:
        return training_batches(
            self, batch_size, seed=seed, start_step=start_step, shares=shares
        )

    def batches(
        self, batch_size: int, shares: Shares = WHOLE
    ) -> tf.data.Dataset:
        return evaluation_batches(self, batch_size, shares)

    def take(self, indices: np.ndarray) -> "ArrayFeed":
        """Return the examples of some indices."""
        return ArrayFeed(self.names, self.arrays.take(indices))
