"""Training a model that learns from another one's outputs, too."""

import contextlib
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import keras
from keras import ops

from kbp import graph, losses
from kbp.errors import UserError
from kbp.tasks import Task
from kbp.training.techniques.technique import Technique, register_technique

_CLASSES = (
    keras.losses.CategoricalCrossentropy,
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
    losses.DiceCrossEntropy,
)
_LABELS = (
    keras.losses.BinaryCrossentropy,
    keras.losses.BinaryFocalCrossentropy,
)


@contextlib.contextmanager
def distilled(
    model: keras.Model,
    teacher: keras.Model,
    *,
    weight: float = 1.0,
    temperature: float = 4.0,
) -> Iterator[None]:
    """Let a model also learn from a teacher's outputs, in `fit` meanwhile.

    To the loss of each training step comes `weight` times what
    `kbp.losses.Distillation` finds between the two models' outputs for the same
    inputs. Metrics, callbacks, evaluation and the saved model stay as they
    are. The teacher does not change.

    Args:
        model: a compiled model, such as one with masks or in fake eight bits.
        teacher: a model of the same inputs and outputs, often the one that
            `model` was made from.
        weight: factor of the divergence; 0 leaves it out.
        temperature: of the divergence, more than 0.

    Raises:
        ValueError: the outputs' shapes differ, an argument is out of range,
            the model is not compiled, or trains by a `train_step` of its own.

    Example:
    >>> import keras, numpy as np, kbp
    >>> layers = [keras.Input((4,)), keras.layers.Dense(3)]
    >>> teacher, model = (keras.Sequential(layers) for _ in range(2))
    >>> model.compile("sgd", keras.losses.CategoricalCrossentropy(True))
    >>> x, y = np.ones((8, 4)), np.eye(3)[[0] * 8]
    >>> with kbp.training.distilled(model, teacher, weight=2.0):
    ...     history = model.fit(x, y, verbose=0)
    """
    if not 0 <= weight < math.inf:
        raise ValueError(
            "Argument `weight` must be 0 or a positive number. Received: "
            f"weight={weight}"
        )
    divergences = _divergences(model, temperature)
    _check_outputs(model, teacher)
    check_learner(model, weight)
    if not weight:
        yield
        return
    own = model.compute_loss

    def compute_loss(
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        loss = own(
            x=x,
            y=y,
            y_pred=y_pred,
            sample_weight=sample_weight,
            training=training,
        )
        if not training:
            return loss
        outputs = keras.tree.flatten(teacher(x, training=False))
        found = keras.tree.flatten(y_pred)
        rows = zip(divergences, outputs, found, strict=True)
        for divergence, wanted, given in rows:
            if divergence is not None:
                wanted = ops.stop_gradient(wanted)
                loss = loss + weight * divergence(wanted, given)
        return loss

    # A step is traced once with what it computes, so anew with each.
    model.compute_loss, model.train_function = compute_loss, None
    try:
        yield
    finally:
        del model.compute_loss
        model.train_function = None


def check_learner(model: keras.Model, weight: float) -> None:
    """Raise a ValueError if a model may not ask for `compute_loss`.

    Args:
        model: that is to learn from a teacher.
        weight: of the divergence; at 0 it does not.
    """
    if weight and "train_step" in graph.own_methods(model):
        raise ValueError(
            f"Model {model.name} trains by its own `train_step`, which may "
            "not ask for `compute_loss`. Add kbp.losses.Distillation there."
        )


@register_technique("distillation")
class Distilled(Technique):
    """Lets a model that was given to `kbp.compress`, or an ensemble, teach."""

    @staticmethod
    def is_asked(recipe: Any) -> bool:
        return bool(recipe.training.distillation or recipe.ensemble.distill)

    @classmethod
    def check(cls, task: Task, model: keras.Model) -> None:
        if task.given() is None and not task.recipe.ensemble.distill:
            raise UserError(
                "training.distillation needs a teacher: a model that is given "
                "to kbp.compress, or ensemble.distill = true"
            )

    def learning(self, model: keras.Model) -> AbstractContextManager[None]:
        teacher, given = self.stage.teacher, self.stage.task.given()
        weight = self.recipe.training.distillation
        if teacher is not given:  # an ensemble, which is there to teach
            weight = weight or 1.0
        if teacher is None or not weight:
            return contextlib.nullcontext()
        return distilled(model, teacher, weight=weight)


def _divergences(
    model: keras.Model, temperature: float
) -> list[losses.Distillation | None]:
    """Return what each output is compared by, as its loss tells."""
    if not model.compiled or model.loss is None:
        raise ValueError(
            f"Model {model.name} must be compiled with a loss before it learns "
            "from a teacher: call `model.compile`."
        )
    found: list[losses.Distillation | None] = []
    for loss in _losses(model):
        if loss is None:  # of an output that does not train
            found.append(None)
            continue
        kind = "values"
        name = getattr(loss, "__name__", "")
        if isinstance(loss, _CLASSES) or "categorical" in name:
            kind = "classes"
        elif isinstance(loss, _LABELS) or name.startswith("binary"):
            kind = "labels"
        # Keras's losses take probabilities, unless they are told otherwise.
        settings = {} if name else loss.get_config()
        default = isinstance(loss, losses.DiceCrossEntropy)
        logits = settings.get("from_logits", default)
        found.append(
            losses.Distillation(
                kind, temperature=temperature, from_logits=logits
            )
        )
    return found


def _losses(model: keras.Model) -> list[Any]:
    """Return the loss of each output, in the outputs' order."""
    given = model.loss
    if isinstance(given, dict):
        names = model.output_names
        if isinstance(model.output, dict):  # its keys, as Keras flattens it
            names = sorted(model.output)
        given = [given.get(name) for name in names]
        if not any(given):
            raise ValueError(
                f"Model {model.name} has losses of {[*model.loss]}, and "
                f"outputs {[*names]}: name losses by the outputs."
            )
    elif not isinstance(given, list | tuple):
        given = [given] * len(model.outputs)
    return [keras.losses.get(loss) for loss in given]


def _check_outputs(model: keras.Model, teacher: keras.Model) -> None:
    shapes = [[x.shape[1:] for x in m.outputs] for m in (model, teacher)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"Models {model.name} and {teacher.name} must have outputs of the "
            f"same shapes. Received: {shapes[0]} and {shapes[1]}"
        )
