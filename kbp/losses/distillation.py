"""How far a network's outputs are from those of its teacher."""

from typing import Any

import keras
from keras import ops

from kbp._utils.arguments import check_one_of
from kbp._utils.types import Tensor
from kbp.losses.shapes import alike

KINDS = ("classes", "labels", "values")
_LEAST = 1e-7  # a probability that is 0 in float32 has no logarithm


@keras.saving.register_keras_serializable(package="kbp")
class Distillation(keras.losses.Loss):
    """The Kullback-Leibler divergence from a teacher's softened outputs.

    With `z` the student's and `t` the teacher's logits,

        L = T^2 sum_c p_c (log p_c - log q_c)
        p = softmax(t / T),  q = softmax(z / T)

    A high temperature `T` shows the student what the teacher holds for nearly
    as likely as the right class; `T^2` keeps the gradients as large. Outputs
    that are yes or no each have two classes; of outputs that are values the
    loss is the mean squared difference, whatever `T`.

    Args:
        kind: what the outputs are: `"classes"` along the last axis, of which
            one is right; `"labels"`, each of which may be; or `"values"`.
        temperature: `T`, more than 0.
        from_logits: whether outputs are logits, not probabilities.

    Call arguments:
        y_true: outputs of the teacher, `(batch, ..., outputs)`.
        y_pred: outputs of the student, of the same shape; as in Keras's
            losses, either may lack a last axis of size 1.
        sample_weight: `(batch, ...)`.

    Returns:
        The mean over all examples and places.

    Raises:
        ValueError: an argument is out of range, or the outputs have different
            shapes.

    Example:
    >>> import numpy as np, kbp
    >>> loss = kbp.losses.Distillation("classes", temperature=1.0)
    >>> teacher = np.array([[2.0, 0.0, -1.0]])
    >>> float(loss(teacher, teacher + 3.0))  # the same probabilities
    0.0
    >>> float(loss(teacher, -teacher)) > 1
    True

    Reference:
        Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network,
        2015.
    """

    def __init__(
        self,
        kind: str = "classes",
        *,
        temperature: float = 4.0,
        from_logits: bool = True,
        reduction: str = "sum_over_batch_size",
        name: str = "distillation",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        check_one_of(KINDS, kind=kind)
        if not 0 < temperature < float("inf"):
            raise ValueError(
                "Argument `temperature` must be a positive number. "
                f"Received: temperature={temperature}"
            )
        self.kind, self.temperature = kind, float(temperature)
        self.from_logits = from_logits

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        y_true, y_pred = alike(y_true, y_pred)
        if self.kind == "values":
            return ops.mean(ops.square(y_true - y_pred), axis=-1)
        wanted, found = map(self._log_probabilities, (y_true, y_pred))
        divergence = ops.sum(ops.exp(wanted) * (wanted - found), axis=-1)
        if self.kind == "labels":
            divergence = ops.sum(divergence, axis=-1)
        # A rounding error must not make it negative.
        return self.temperature**2 * ops.maximum(divergence, 0.0)

    def _log_probabilities(self, outputs: Tensor) -> Tensor:
        """Return logarithms of softened probabilities, `(..., classes)`."""
        if self.kind == "labels":
            if self.from_logits:
                logits = ops.stack([outputs, ops.zeros_like(outputs)], -1)
            else:
                both = ops.stack([outputs, 1.0 - outputs], -1)
                logits = ops.log(ops.maximum(both, _LEAST))
        elif self.from_logits:
            logits = outputs
        else:
            logits = ops.log(ops.maximum(outputs, _LEAST))
        return ops.log_softmax(logits / self.temperature, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kind": self.kind,
            "temperature": self.temperature,
            "from_logits": self.from_logits,
        }
