"""Dice coefficient and intersection over union of masks."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kbp._utils.arguments import check_integer, sizes_match
from kbp._utils.types import Tensor


class _Overlap(keras.metrics.Metric):
    """Base of metrics that count the pixels of each class.

    Subclasses give the `coefficient` of the pixels in both masks and of the sum
    of the pixels in each.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        per_image: bool = True,
        target_class_ids: Sequence[int] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        check_integer(2, num_classes=num_classes)
        ids = [
            *(
                range(1, num_classes)
                if target_class_ids is None
                else map(int, target_class_ids)
            )
        ]
        if not ids or not all(0 <= i < num_classes for i in ids):
            raise ValueError(
                f"Argument `target_class_ids` must hold classes of 0 to "
                f"{num_classes - 1}. Received: "
                f"target_class_ids={target_class_ids}"
            )
        self.num_classes, self.per_image = num_classes, per_image
        self.target_class_ids = ids
        self.total = self._zeros("total")
        self.weight = self._zeros("weight")

    def _zeros(self, name: str) -> keras.Variable:
        return self.add_weight(
            name=name, shape=(len(self.target_class_ids),), initializer="zeros"
        )

    def update_state(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: Tensor | None = None,
    ) -> None:
        """Count the pixels of a batch: masks and logits, or two masks."""
        y_true, y_pred = _classes(y_true), _classes(y_pred)
        shapes = y_true.shape[1:], y_pred.shape[1:]
        if len(shapes[0]) != 2 or not sizes_match(*shapes):
            raise ValueError(
                "Arguments `y_true` and `y_pred` must be masks of one size, "
                "(batch, height, width). Received: shapes "
                f"{y_true.shape} and {y_pred.shape}"
            )
        true, found = (
            ops.stack(
                [
                    ops.cast(ops.equal(y, i), "float32")
                    for i in self.target_class_ids
                ],
                axis=-1,
            )
            for y in (ops.cast(y_true, "int32"), ops.cast(y_pred, "int32"))
        )  # (batch, height, width, target_class_ids)
        value, count = (
            ops.sum(x, axis=(1, 2)) for x in (true * found, true + found)
        )  # (batch, target_class_ids)
        if self.per_image:
            seen = ops.cast(count > 0, "float32")
            value = self.coefficient(value, ops.maximum(count, 1.0)) * seen
            count = seen
        if sample_weight is not None:
            weight = ops.convert_to_tensor(sample_weight, "float32")
            shape = (y_true.shape[0], *[1] * (len(weight.shape) - 1))
            if not sizes_match(weight.shape, shape):
                raise ValueError(
                    "Argument `sample_weight` must be a weight for each image. "
                    f"Received: shape {weight.shape}"
                )
            weight = ops.reshape(weight, (-1, 1))
            value, count = weight * value, weight * count
        self.total.assign_add(ops.sum(value, axis=0))
        self.weight.assign_add(ops.sum(count, axis=0))

    def coefficient(self, both: Tensor, sum_of_sizes: Tensor) -> Tensor:
        """Return the coefficient of pixel counts.

        Args:
            both: number of pixels in both masks.
            sum_of_sizes: sum of the numbers of pixels in each mask.
        """
        raise NotImplementedError

    def per_class(self) -> Tensor:
        """Return the coefficient of each of `target_class_ids`.

        It is NaN for a class that occurs neither in masks nor in predictions.
        """
        if self.per_image:
            return self.total / self.weight
        return self.coefficient(self.total, self.weight)

    def result(self) -> Tensor:
        """Return the mean over the classes that occur."""
        known = self.weight > 0
        values = ops.where(known, self.per_class(), 0.0)
        return ops.sum(values) / ops.sum(ops.cast(known, "float32"))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "per_image": self.per_image,
            "target_class_ids": self.target_class_ids,
        }


def _classes(masks: Tensor) -> Tensor:
    """Return integers `(batch, height, width)` of masks, or of logits."""
    masks = ops.convert_to_tensor(masks)
    if len(masks.shape) < 4:
        return masks
    if masks.shape[-1] == 1:
        return ops.squeeze(masks, axis=-1)
    return ops.argmax(masks, axis=-1)


@keras.saving.register_keras_serializable(package="kbp")
class Dice(_Overlap):
    """The Dice coefficient `2 |A and B| / (|A| + |B|)` of masks.

    Args:
        num_classes: number of classes, two or more.
        per_image: whether the metric is the mean over the images in which a
            class occurs, in the mask or in the prediction; otherwise all
            pixels are pooled, and a large object counts for more.
        target_class_ids: classes that count, by default all but the first.
        name: name of the metric.

    Call arguments:
        y_true: integers `(batch, height, width)` or `(..., 1)`, or one-hot.
        y_pred: logits `(batch, height, width, classes)`, or integers like
            `y_true`.
        sample_weight: `(batch,)`, how much each image counts.

    Raises:
        ValueError: an argument is out of range, or of another shape.

    Example:
    >>> import numpy as np, kbp
    >>> dice = kbp.metrics.Dice(2)
    >>> dice.update_state(np.array([[[0, 1, 1]]]), np.array([[[0, 0, 1]]]))
    >>> round(float(dice.result()), 4)
    0.6667

    Reference:
        Dice, Measures of the amount of ecologic association between species,
        1945.
    """

    def __init__(self, num_classes: int, *, name: str = "dice", **kwargs: Any):
        super().__init__(num_classes, name=name, **kwargs)

    def coefficient(self, both: Tensor, sum_of_sizes: Tensor) -> Tensor:
        return 2.0 * both / sum_of_sizes


@keras.saving.register_keras_serializable(package="kbp")
class IoU(_Overlap):
    """The Jaccard index `|A and B| / |A or B|` of masks.

    The arguments are those of `Dice`. Without `per_image` the metric equals
    `keras.metrics.IoU`.

    Example:
    >>> import numpy as np, kbp
    >>> iou = kbp.metrics.IoU(2)
    >>> iou.update_state(np.array([[[0, 1, 1]]]), np.array([[[0, 0, 1]]]))
    >>> float(iou.result())
    0.5
    """

    def __init__(self, num_classes: int, *, name: str = "iou", **kwargs: Any):
        super().__init__(num_classes, name=name, **kwargs)

    def coefficient(self, both: Tensor, sum_of_sizes: Tensor) -> Tensor:
        return both / (sum_of_sizes - both)
