"""Batches of which each worker reads its own examples alone."""

from typing import Any, Protocol, TypeAlias

import tensorflow as tf

from kbp.data.shares import WHOLE, Shares

# Of tf.data, or distributed among replicas.
Batches: TypeAlias = Any


class Make(Protocol):
    """What gives shares of batches."""

    def __call__(self, *, shares: Shares) -> tf.data.Dataset: ...


def shared(strategy: tf.distribute.Strategy, make: Make) -> Batches:
    """Return batches, of which each replica gets its share.

    TensorFlow would let every worker make whole batches, and throw away what
    belongs to the others.

    Args:
        strategy: the strategy that trains on them.
        make: `make(shares=shares) -> data`, see `kbp.data.training_batches`.
    """
    if strategy.num_replicas_in_sync == 1:
        return make(shares=WHOLE)

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        total = context.num_replicas_in_sync
        own = total // context.num_input_pipelines
        first = own * context.input_pipeline_id
        return make(shares=Shares(first, own, total))

    return strategy.distribute_datasets_from_function(of_worker)
