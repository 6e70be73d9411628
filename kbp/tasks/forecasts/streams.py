"""Batches whose places go along a series, for states that go on."""

from typing import TYPE_CHECKING

import tensorflow as tf

from kbp.data import SeriesSplits
from kbp.data.batches import Indexed, endless
from kbp.data.shares import WHOLE, Shares
from kbp.data.splits import Tensor
from kbp.errors import UserError

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe


class Streams:
    """Windows of one series in streams that go along it side by side.

    Each place of a batch has a part of the series of its own, and holds the
    window that follows the one of the batch before: a recurrent network whose
    states go on from batch to batch sees all of the part. Parts begin at
    another row in each epoch, so that all windows have their turn.

    Args:
        examples: windows of one series, in order.
        count: number of streams, which is the size of the batches.
        stride: how many windows the next one is further on, such as the rows
            of a window.

    Attributes:
        steps: batches of an epoch.

    Example:
    >>> from kbp.data import Examples
    >>> import numpy as np
    >>> windows = np.arange(20)
    >>> streams = Streams(Examples(windows, windows), count=2, stride=3)
    >>> streams.steps
    3
    >>> batches = streams.batches(seed=0).take(3).as_numpy_iterator()
    >>> [(int(b - a), int(a)) for (a, b), _ in batches]
    [(10, 2), (10, 5), (10, 8)]
    """

    def __init__(self, examples: Indexed, count: int, stride: int):
        self.examples, self.count, self.stride = examples, count, stride
        self.length = len(examples) // count
        self.steps = max(1, self.length // stride)

    def batches(
        self, seed: int, start_step: int = 0, shares: Shares = WHOLE
    ) -> tf.data.Dataset:
        """Return an endless data set of batches, a function of (seed, step).

        Args:
            seed: of where parts begin.
            start_step: first batch to give.
            shares: of each batch.

        Returns:
            A data set of `(inputs, labels)`.

        Raises:
            UserError: the batches are to be shared.
        """
        if shares != WHOLE:
            raise UserError(
                "model.streams needs whole batches, on one device: their "
                "places are the streams, whose states go on"
            )
        lookup = self.examples.lookup()
        spare = self.length - (self.steps - 1) * self.stride

        def batch(step: Tensor) -> tuple[Tensor, ...]:
            epoch, place = step // self.steps, step % self.steps
            first = tf.random.stateless_uniform(
                (), tf.stack([seed, epoch]), 0, spare, dtype=tf.int64
            )
            parts = tf.range(self.count, dtype=tf.int64) * self.length
            return lookup(parts + first + place * self.stride)

        return endless(batch, start_step)


def streams_of(recipe: "Recipe", splits: SeriesSplits) -> Streams | None:
    """Return what training batches go along, if `model.streams` is there.

    Args:
        recipe: with the model and the size of batches.
        splits: one series.

    Raises:
        UserError: these do not fit together.
    """
    count = recipe.model.argument("streams", None)
    if count is None:
        return None
    size = recipe.training.batch_size
    if count != size:
        raise UserError(
            f"model.streams must be training.batch_size, {size}: each place of "
            f"a batch is a stream; received {count}"
        )
    if recipe.ensemble.members > 1:
        raise UserError(
            "model.streams is for one network: the members of an ensemble "
            "draw windows at random"
        )
    if len(splits.series) > 1:
        raise UserError(
            "model.streams is for one long series; the data hold "
            f"{len(splits.series)}"
        )
    return Streams(splits.train, count, splits.train.lookback)
