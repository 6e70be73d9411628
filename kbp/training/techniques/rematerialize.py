"""Less memory for training, by computing most of a model twice."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from kbp.errors import UserError
from kbp.graph import adds_loss, as_functional, blocks, in_blocks, nodes
from kbp.quantization import FakeQuantize
from kbp.tasks import Task
from kbp.training.distribution import keras_workarounds
from kbp.training.techniques.technique import Technique, register_technique


@register_technique("rematerialize")
class Rematerialize(Technique):
    """Keeps what goes from block to block of a model, and no more.

    What layers give within a block is computed again where its gradients are.
    The second time a block sees the variables and random seeds of the first,
    and changes none: dropout drops the same, and moving averages move once.
    The training that quantizes keeps all.
    """

    @staticmethod
    def is_asked(recipe: Any) -> bool:
        return bool(recipe.training.rematerialize)

    @classmethod
    def check(cls, task: Task, model: keras.Model) -> None:
        try:
            found = nodes(as_functional(model))
        except ValueError as error:
            raise UserError(f"training.rematerialize: {error}") from error
        for node in found:
            if reason := _obstacle(node.operation):
                raise UserError(
                    f"training.rematerialize: layer {node.operation.name} "
                    f"{reason}, which a block that is computed twice loses"
                )
        if len(blocks(found)) == 1:
            raise UserError(
                f"training.rematerialize has no effect: model {model.name} is "
                "too small to be cut into blocks"
            )

    def learning(self, model: keras.Model) -> AbstractContextManager[None]:
        # TFMOT assigns to its ranges where a block that is computed twice may
        # assign nothing.
        if any(keras_workarounds.find(FakeQuantize, model)):
            return contextlib.nullcontext()
        return computed_twice(model)


@contextlib.contextmanager
def computed_twice(model: keras.Model) -> Iterator[None]:
    """Let `fit` compute a model's blocks twice, see `kbp.graph.in_blocks`.

    Args:
        model: functional, and compiled.
    """
    # keras.RematScope fails under `fit`, whose layers are told that they train
    # by a keyword, which TensorFlow allows in eager mode alone (keras 3.15).
    twin = in_blocks(model)

    def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return twin(inputs, training=training)

    before = tf.config.optimizer.get_experimental_options()
    # It gave wrong sums in a graph of blocks with residual sums (tensorflow
    # 2.21).
    name = "arithmetic_optimization"
    tf.config.optimizer.set_experimental_options({name: False})
    model.call = call
    model.train_function = None  # traced without it
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({name: True} | before)
        del model.call
        model.train_function = None


def _obstacle(layer: keras.Operation) -> str:
    """Say what a layer gives beside its outputs, if anything."""
    if getattr(layer, "activity_regularizer", None) or adds_loss(layer):
        return "adds to the loss by what it computes"
    if isinstance(layer, keras.layers.Masking) or getattr(
        layer, "mask_zero", False
    ):
        return "gives a mask of time steps"
    return ""
