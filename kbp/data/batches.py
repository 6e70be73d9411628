"""Batches as a function of (seed, step)."""

import inspect
from collections.abc import Callable
from typing import Protocol

import numpy as np
import tensorflow as tf

from kbp.data.shares import WHOLE, Shares
from kbp.data.splits import Augment, Lookup, Tensor

# Batches that are made ready; TensorFlow would fill up to half of the memory.
AHEAD = 2


class Indexed(Protocol):
    """Examples that are found by their numbers."""

    def __len__(self) -> int: ...

    def lookup(self) -> Lookup:
        """Return `lookup(indices) -> (inputs, labels)`, all of them tensors."""


class Selected:
    """Some of some examples, as if they were all.

    Args:
        examples: that are chosen from.
        indices: of those that are, `(n,)`; one may come several times.

    Example:
    >>> from kbp.data import Examples
    >>> x = np.arange(10.0)
    >>> chosen = Selected(Examples(x, x), np.array([7, 1]))
    >>> [float(v) for v in chosen.lookup()(tf.constant([0, 1]))[0]]
    [7.0, 1.0]
    """

    def __init__(self, examples: Indexed, indices: np.ndarray):
        self.examples, self.indices = examples, indices

    def __len__(self) -> int:
        return len(self.indices)

    def lookup(self) -> Lookup:
        """Return `lookup(indices) -> (inputs, labels)`, all of them tensors."""
        lookup = self.examples.lookup()
        chosen = tf.constant(self.indices, tf.int64)
        return lambda indices: lookup(tf.gather(chosen, indices))


class Resampled(Selected):
    """As many of some examples, drawn with replacement: a bootstrap sample.

    About 63 % of the examples are in it, some of them several times.

    Args:
        examples: that are drawn from.
        seed: of the draws.

    Example:
    >>> from kbp.data import Examples
    >>> x = np.arange(1000.0)
    >>> drawn = Resampled(Examples(x, x), seed=(0, 1))
    >>> len(drawn), 600 < len({*drawn.indices.tolist()}) < 660
    (1000, True)

    Reference:
        Breiman, Bagging Predictors, 1996.
    """

    def __init__(self, examples: Indexed, seed: int | tuple[int, ...]):
        rng, count = np.random.default_rng(seed), len(examples)
        super().__init__(examples, rng.integers(count, size=count))


def steps_per_epoch(examples: Indexed, batch_size: int) -> int:
    """Return how many whole batches an epoch holds.

    Example:
    >>> from kbp.data import steps_per_epoch
    >>> steps_per_epoch(range(100), 32)
    3
    """
    return len(examples) // batch_size


def training_batches(
    examples: Indexed,
    batch_size: int,
    *,
    seed: int,
    start_step: int = 0,
    augment: Augment | None = None,
    shares: Shares = WHOLE,
) -> tf.data.Dataset:
    """Return an endless data set of shuffled batches.

    Batch `step` depends on `seed` and `step` alone, so a training that is
    resumed needs a number and no iterator's state. Each epoch is another
    permutation; its incomplete last batch is left out.

    Args:
        examples: in memory, or read by index in the threads of tf.data.
        batch_size: examples in a batch, over all replicas.
        seed: of the permutations and of the augmentation.
        start_step: first batch to give.
        augment: `augment(inputs, labels, seed) -> (inputs, labels)` on a batch,
            with a seed of shape `(2,)` for stateless random operations. If
            there are shares, one of four arguments also gets the
            `kbp.data.shares.Rows` that it changes.
        shares: of each batch; nothing else of it is read, unless `augment`
            takes whole batches alone.

    Returns:
        A data set of `(inputs, labels)`.

    Example:
    >>> import numpy as np
    >>> from kbp.data import Examples, training_batches
    >>> few = Examples(np.zeros((6, 2), "float32"), np.arange(6))
    >>> first, second = training_batches(few, 3, seed=0).take(2)
    >>> sorted([*first[1].numpy(), *second[1].numpy()]) == [*range(6)]
    True
    >>> (again,) = training_batches(few, 3, seed=0, start_step=1).take(1)
    >>> bool((again[1] == second[1]).numpy().all())
    True
    """
    if shares != WHOLE and augment and not _takes_rows(augment):
        batches = training_batches(
            examples,
            batch_size,
            seed=seed,
            start_step=start_step,
            augment=augment,
        )
        return shares.of(batches)
    count = len(examples)
    steps = steps_per_epoch(examples, batch_size)
    lookup = examples.lookup()

    def batch(number: Tensor) -> tuple[Tensor, ...]:
        step, share = shares.turn(number)
        epoch = step // steps
        rows = shares.rows(share, batch_size)
        position = (step % steps) * batch_size + rows.places
        key = tf.cast(tf.stack([seed, epoch]), tf.uint32)
        chosen = tf.random.experimental.index_shuffle(
            position, key, max_index=count - 1
        )
        found = lookup(chosen)
        if augment is None:
            return found
        parts = () if shares == WHOLE else (rows,)
        seeds = tf.stack([tf.constant(seed, tf.int64), step])
        return augment(*found, seeds, *parts)

    return endless(batch, start_step * shares.count)


def endless(
    batch: Callable[[Tensor], tuple[Tensor, ...]], first: int
) -> tf.data.Dataset:
    """Return what a function gives for all numbers from one on.

    Args:
        batch: `batch(number) -> tensors`, called in threads of tf.data.
        first: of the numbers.
    """
    # 2^62 steps are as good as endless, and `range` needs an end.
    return (
        tf.data.Dataset.range(first, 2**62)
        .map(batch, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(AHEAD)
    )


def _takes_rows(augment: Augment) -> bool:
    try:
        inspect.signature(augment).bind("inputs", "labels", "seed", "rows")
    except (TypeError, ValueError):
        return False
    return True


def evaluation_batches(
    examples: Indexed, batch_size: int, shares: Shares = WHOLE
) -> tf.data.Dataset:
    """Return the examples in order, the last batch as small as it is.

    Args:
        examples: see `training_batches`.
        batch_size: examples in a batch, over all replicas.
        shares: of each batch; of the last one some may be empty.

    Example:
    >>> import numpy as np
    >>> from kbp.data import Examples, evaluation_batches
    >>> few = Examples(np.zeros((5, 2), "float32"), np.arange(5))
    >>> [labels.numpy().tolist() for _, labels in evaluation_batches(few, 3)]
    [[0, 1, 2], [3, 4]]
    """
    count, lookup = len(examples), examples.lookup()

    def batch(number: Tensor) -> tuple[Tensor, ...]:
        step, share = shares.turn(number)
        rows = shares.rows(share, batch_size)
        position = step * batch_size + rows.places
        if count % batch_size:
            position = position[position < count]
        return lookup(position)

    return (
        tf.data.Dataset.range(-(-count // batch_size) * shares.count)
        .map(batch, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(AHEAD)
    )


def sample_batches(
    examples: Indexed, batch_size: int, seed: int
) -> tf.data.Dataset:
    """Return the examples unchanged, in an order that is drawn once.

    Example:
    >>> import numpy as np
    >>> from kbp.data import Examples, sample_batches
    >>> few = Examples(np.zeros((5, 2), "float32"), np.arange(5))
    >>> [len(labels) for _, labels in sample_batches(few, 3, seed=0)]
    [3, 2]
    """
    order = np.random.default_rng(seed).permutation(len(examples))
    return (
        tf.data.Dataset.from_tensor_slices(order)
        .batch(batch_size)
        .map(examples.lookup())
    )
