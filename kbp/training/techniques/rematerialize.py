"""Less memory for training, by computing some things twice."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras

from kbp.errors import UserError
from kbp.tasks import Task
from kbp.training.techniques.technique import Technique, register_technique


@register_technique("rematerialize")
class Rematerialize(Technique):
    """Computes what layers hold within again, where gradients need it.

    What a layer gives stays in memory; what it computes on the way, such as the
    scores of attention, does not. Layers with state are left out
    (BatchNormalization, Dropout, masks, fake quantization): they would change
    twice in a step, or drop other values the second time.
    """

    @staticmethod
    def is_asked(recipe: Any) -> bool:
        return bool(recipe.training.rematerialize)

    @classmethod
    def check(cls, task: Task, model: keras.Model) -> None:
        if not stateless(model):
            raise UserError(
                "training.rematerialize has no effect: every layer of model "
                f"{model.name} has state, or no weights"
            )

    @contextlib.contextmanager
    def learning(self, model: keras.Model) -> Iterator[None]:
        # keras.RematScope fails under `fit`, whose layers are told that they
        # train by a keyword, which TensorFlow allows in eager mode alone (keras
        # 3.15).
        layers = stateless(model)
        for layer in layers:
            layer.call = partial(_again, layer.call)
        model.train_function = None  # traced without it
        try:
            yield
        finally:
            for layer in layers:
                del layer.call
            model.train_function = None


def stateless(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers with weights that all train, and no other state."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += stateless(layer)
        elif layer.trainable_weights and len(layer.variables) == len(
            layer.trainable_weights
        ):
            found.append(layer)
    return found


def _again(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a layer in such a way that its gradient calls it again."""
    inputs = keras.tree.flatten((args, kwargs))
    places = [i for i, x in enumerate(inputs) if keras.ops.is_tensor(x)]
    if any(isinstance(inputs[i], keras.KerasTensor) for i in places):
        return call(*args, **kwargs)  # only the shapes are asked for

    def called(*tensors: Any) -> Any:
        every = [*inputs]
        for i, tensor in zip(places, tensors, strict=True):
            every[i] = tensor
        args_, kwargs_ = keras.tree.pack_sequence_as((args, kwargs), every)
        return call(*args_, **kwargs_)

    return keras.remat(called)(*[inputs[i] for i in places])
