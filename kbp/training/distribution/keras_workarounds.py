"""Workarounds for `model.fit` of Keras 3.15 under tf.distribute.

`HybridOptimizer` does clipping, accumulation and moving averages, which Keras
applies to each replica's own gradients or not at all (keras issue 20582).
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


class _Reducing(tf.distribute.Strategy):
    """A strategy whose `reduce` fits Keras's calls (keras issue 20585).

    Keras reduces a whole structure, to see shapes, which fails for workers and
    for parts of unequal size; and for workers it takes the mean of scalars
    along their first axis.
    """

    def reduce(
        self, reduce_op: Any, value: Any, axis: int | None = None
    ) -> Any:
        if isinstance(value, tuple | list | dict):
            mean = reduce_op in ("MEAN", tf.distribute.ReduceOp.MEAN)
            if mean and axis is None and not tf.inside_function():
                return tf.nest.map_structure(
                    lambda part: self.experimental_local_results(part)[0],
                    value,
                )
            return super().reduce(reduce_op, value, axis)
        local = self.experimental_local_results(value)[0]
        return super().reduce(
            reduce_op, value, axis if len(local.shape) else None
        )


class MirroredStrategy(_Reducing, tf.distribute.MirroredStrategy):
    """MirroredStrategy under which `evaluate` runs with unequal parts."""


class MultiWorkerStrategy(_Reducing, tf.distribute.MultiWorkerMirroredStrategy):
    """MultiWorkerMirroredStrategy under which `fit` and `evaluate` run."""


def execute_steps(model: keras.Model, steps: int) -> None:
    """Let `fit` run several steps at once under a strategy.

    Keras's `steps_per_execution` fails under a strategy, because it carries
    replicas' outputs through a loop. Here the loop is around whole steps, and
    the outputs are those of the last step. An evaluation runs single steps,
    since the number of its batches need not be a multiple.

    Args:
        model: a model that was compiled with `steps_per_execution=steps`.
        steps: number of steps, which must divide the steps of an epoch.
    """
    strategy = model.distribute_strategy

    def one(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @tf.function(reduce_retracing=True)
        def run(iterator: Any) -> Any:
            outputs = strategy.run(step, args=(next(iterator),))
            return tf.nest.map_structure(
                lambda value: strategy.reduce("MEAN", value, axis=None), outputs
            )

        return run

    train, test = one(model.train_step), one(model.test_step)

    @tf.function(reduce_retracing=True)
    def train_function(iterator: Any) -> Any:
        for _ in tf.range(steps - 1):
            train(iterator)
        return train(iterator)

    def test_function(iterator: Any) -> Any:
        outputs = test(iterator)
        for _ in range(steps - 1):
            try:
                outputs = test(iterator)
            except (StopIteration, tf.errors.OutOfRangeError):
                break
        return outputs

    model.train_function = train_function
    model.test_function = test_function


def find(kind: type, layer: keras.layers.Layer) -> list[Any]:
    """Return all objects of a class that a layer and its sub-layers hold."""
    found: dict[int, object] = {}
    seen: set[int] = set()

    def look(holder: object) -> None:
        if id(holder) in seen:
            return
        seen.add(id(holder))
        if isinstance(holder, kind):
            found[id(holder)] = holder
        if isinstance(holder, keras.layers.Layer):
            holder = list(vars(holder).values())
        if isinstance(holder, list | tuple):
            for part in holder:
                look(part)

    look(layer)
    return list(found.values())
