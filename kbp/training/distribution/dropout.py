"""Draws of replicas that are those of one device.

Under a strategy each replica has a copy of a seed's state, so with Keras's own
layers all replicas would drop the same positions.
"""

from typing import Any

import keras
import tensorflow as tf

from kbp._utils.types import Tensor
from kbp.training.distribution import keras_workarounds

# Seeds of replicas differ by a multiple of this: 2^31 over the golden ratio.
_SEED_STEP = 1327217885


def share_draws(model: keras.Model) -> None:
    """Let replicas draw what one device would for the whole batch.

    Each replica draws what Dropout takes of the global batch, and keeps the
    part of its own examples. What other layers draw, such as noise, differs
    between replicas and from one device.

    Args:
        model: the model, whose layers are changed.
    """
    find, alike = keras_workarounds.find, set()
    for layer in find(keras.layers.Dropout, model):
        if layer.rate:
            alike.add(id(layer.seed_generator))
            layer.call = _GlobalDraws(layer)
    for generator in find(keras.random.SeedGenerator, model):
        if id(generator) not in alike:
            generator.next = _ReplicaSeeds(generator)


class _GlobalDraws:
    """The `call` of a Dropout layer under a strategy."""

    def __init__(self, layer: keras.layers.Dropout):
        self.own = type(layer).call.__get__(layer)

    def __call__(self, inputs: Tensor, training: bool = False) -> Tensor:
        context = tf.distribute.get_replica_context()
        if not training or context is None:  # Keras looks at shapes
            return self.own(inputs, training=training)
        count, *sizes = tf.unstack(tf.shape(inputs))
        whole = [count * context.num_replicas_in_sync, *sizes]
        factors = self.own(tf.ones(whole, inputs.dtype), training=True)
        first = count * context.replica_id_in_sync_group
        return inputs * factors[first : first + count]


class _ReplicaSeeds:
    def __init__(self, generator: keras.random.SeedGenerator):
        self.next = type(generator).next.__get__(generator)

    def __call__(self, ordered: bool = True) -> Any:
        seed = self.next(ordered)
        context = tf.distribute.get_replica_context()
        if context is None:  # no replica runs: Keras looks at shapes
            return seed
        replica = tf.cast(context.replica_id_in_sync_group, seed.dtype)
        return seed + tf.stack([replica * _SEED_STEP, 0 * replica])
