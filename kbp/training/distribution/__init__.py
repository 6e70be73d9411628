"""Training on several devices and machines with tf.distribute."""

from kbp.training.distribution.shared import Batches, shared
from kbp.training.distribution.strategies import (
    check_batch_size,
    create_strategy,
    describe,
    evaluation_batch_size,
    from_chief,
    has_workers,
    is_chief,
    num_workers,
    prepare,
    together,
)

__all__ = [
    "Batches",
    "check_batch_size",
    "create_strategy",
    "describe",
    "evaluation_batch_size",
    "from_chief",
    "has_workers",
    "is_chief",
    "num_workers",
    "prepare",
    "shared",
    "together",
]
