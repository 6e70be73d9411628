"""Batches of which each worker reads its own examples alone."""

from typing import Any, Protocol, TypeAlias

import tensorflow as tf

from kbp.data.shares import WHOLE, Shares
from kbp.training.distribution.strategies import has_workers, num_workers

# Of tf.data, or distributed among replicas.
Batches: TypeAlias = Any


class Make(Protocol):
    """What gives shares of batches."""

    def __call__(self, *, shares: Shares) -> tf.data.Dataset: ...


def shared(
    strategy: tf.distribute.Strategy, make: Make, *, counted: bool = False
) -> Batches:
    """Return batches, of which each worker makes its replicas' shares alone.

    TensorFlow would let every worker make whole batches, and throw away what
    belongs to the others. Replicas of one worker divide what it has made.

    Args:
        strategy: the strategy that trains on them.
        make: `make(shares=shares) -> data`, see `kbp.data.training_batches`.
        counted: whether Keras counts the batches, as in an evaluation. It
            counts shares instead, so workers of several replicas make whole
            batches then.
    """
    workers = num_workers(default=1) if has_workers(strategy) else 1
    total = strategy.num_replicas_in_sync
    own = total // workers
    if workers == 1 or (counted and own > 1):
        return make(shares=WHOLE)
    return strategy.distribute_datasets_from_function(
        lambda context: make(
            shares=Shares(own * context.input_pipeline_id, own, total)
        )
    )
