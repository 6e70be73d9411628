"""Cross-entropy plus Dice loss, for segmentation with rare classes."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kbp._utils.arguments import sizes_match
from kbp._utils.types import Tensor


@keras.saving.register_keras_serializable(package="kbp")
class DiceCrossEntropy(keras.losses.Loss):
    """The sum of a cross-entropy and of one minus a soft Dice coefficient.

    Cross-entropy has a good gradient everywhere but counts pixels, so a rare
    class counts little; the Dice coefficient counts classes alike. With `p` the
    softmax of the logits and `y` the one-hot masks,

        L   = mean(w_y (1 - p_y)^gamma (-log p_y)) + weight * (1 - mean_c D_c)
        D_c = (TP_c + s) / (TP_c + alpha FP_c + beta FN_c + s)
        TP_c = sum(p_c y_c),  FP_c = sum(p_c (1 - y_c)),
        FN_c = sum((1 - p_c) y_c)

    where the sums are over all pixels of a batch, or of each image, and the
    mean of `D_c` is over all classes but the first. `alpha = beta = 1/2` is the
    Dice coefficient, others are Tversky's index; `gamma > 0` is the focal loss.

    Args:
        dice_weight: factor of the Dice term; 0 leaves it out.
        cross_entropy_weight: factor of the cross-entropy; 0 leaves it out.
        focal_gamma: `gamma`, 0 or more; a larger one lets pixels that are
            already right count for less.
        alpha: `alpha`, the weight of false positives.
        beta: `beta`, the weight of false negatives; more than `alpha` finds
            more of a rare class.
        class_weights: `w`, one number for each class, by default all 1.
        smooth: `s`, in pixels; it keeps the coefficient of an absent class
            finite and near 1.
        label_smoothing: share of the right class that the cross-entropy, not
            the coefficient, gives to all classes alike, in [0, 1).
        divergence: whether the cross-entropy is less that of the labels with
            themselves, and so their Kullback-Leibler divergence.
        per_image: whether the sums are over each image instead of the batch.
            Then all images count alike, and the loss of several replicas
            equals that of one device. Sums over the batch vary less where
            a class is absent from many images.

    Call arguments:
        y_true: integers `(batch, height, width)` or `(..., 1)`; or soft labels,
            of the logits' shape, whose classes sum to 1.
        y_pred: logits `(batch, height, width, classes)`, two classes or more.
        sample_weight: `(batch,)`, with `per_image` alone.

    Returns:
        A scalar; with `per_image`, the reduction of one for each image. With
        soft labels, the first term is the Kullback-Leibler divergence up to
        their entropy; the second is least at hard labels, so leave it out
        (`dice_weight=0`) to learn the soft ones as they are.

    Raises:
        ValueError: an argument is out of range or of another shape, or
            examples have weights but the sums are over all of them.

    Example:
    >>> import numpy as np, kbp
    >>> loss = kbp.losses.DiceCrossEntropy()
    >>> masks = np.eye(4, dtype="int32")[None]  # (1, 4, 4)
    >>> logits = 50.0 * np.eye(2)[masks]  # (1, 4, 4, 2), all right
    >>> abs(float(loss(masks, logits))) < 1e-6
    True

    Reference:
        Milletari et al., V-Net, 2016. Salehi et al., Tversky loss function for
        image segmentation, 2017. Lin et al., Focal loss for dense object
        detection, 2017. Isensee et al., nnU-Net, 2021, for the sum.
    """

    def __init__(
        self,
        *,
        dice_weight: float = 1.0,
        cross_entropy_weight: float = 1.0,
        focal_gamma: float = 0.0,
        alpha: float = 0.5,
        beta: float = 0.5,
        class_weights: Sequence[float] | None = None,
        smooth: float = 1.0,
        label_smoothing: float = 0.0,
        divergence: bool = False,
        per_image: bool = False,
        name: str = "dice_cross_entropy",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.options = {
            "dice_weight": dice_weight,
            "cross_entropy_weight": cross_entropy_weight,
            "focal_gamma": focal_gamma,
            "alpha": alpha,
            "beta": beta,
            "smooth": smooth,
            "label_smoothing": label_smoothing,
        }
        for option, value in self.options.items():
            if not 0 <= value < float("inf"):
                raise ValueError(
                    f"Argument `{option}` must not be negative, and finite. "
                    f"Received: {option}={value}"
                )
        if not dice_weight and not cross_entropy_weight:
            raise ValueError(
                "Arguments `dice_weight` and `cross_entropy_weight` must not "
                "both be 0."
            )
        self.class_weights = None
        if class_weights is not None:
            self.class_weights = [*map(float, class_weights)]
            if len(self.class_weights) < 2 or min(self.class_weights) < 0:
                raise ValueError(
                    "Argument `class_weights` must hold a number for each "
                    "class, none negative. Received: "
                    f"class_weights={class_weights}"
                )
        self.per_image, self.divergence = bool(per_image), bool(divergence)
        if label_smoothing >= 1:
            raise ValueError(
                "Argument `label_smoothing` must be less than 1. Received: "
                f"label_smoothing={label_smoothing}"
            )

    def __call__(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch, as Keras reduces it."""
        shape = getattr(sample_weight, "shape", None)
        if sample_weight is not None and not (
            self.per_image and shape is not None and len(shape) == 1
        ):
            raise ValueError(
                "Argument `sample_weight` must be a weight for each image, "
                "with `per_image=True`. Received: "
                f"per_image={self.per_image}, sample_weight of shape {shape}"
            )
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss, `(1,)` or `(batch,)`, before it is reduced."""
        classes = y_pred.shape[-1]
        if classes < 2:
            raise ValueError(
                "Argument `y_pred` must hold logits of two classes or more. "
                f"Received: shape {y_pred.shape}"
            )
        if y_true.shape[-1] == 1 and len(y_true.shape) == len(y_pred.shape):
            y_true = ops.squeeze(y_true, axis=-1)
        if len(y_true.shape) < len(y_pred.shape):
            y_true = ops.one_hot(ops.cast(y_true, "int32"), classes)
        if not sizes_match(y_true.shape, y_pred.shape):
            raise ValueError(
                "Argument `y_true` must hold a class or the probability of "
                "each class for every pixel of `y_pred`. Received: shapes "
                f"{y_true.shape} and {y_pred.shape}"
            )
        axes = tuple(range(int(self.per_image), len(y_pred.shape) - 1))
        y_true = ops.cast(y_true, y_pred.dtype)
        log_p = ops.log_softmax(y_pred, axis=-1)
        p, option, loss = ops.exp(log_p), self.options, 0.0
        if option["cross_entropy_weight"]:
            wanted = y_true
            if smoothing := option["label_smoothing"]:
                wanted = (1.0 - smoothing) * y_true + smoothing / classes
            terms = -wanted * log_p
            if self.divergence:
                least = ops.maximum(wanted, keras.config.epsilon())
                terms += wanted * ops.log(least)
            if option["focal_gamma"]:
                # Its slope at p = 1 is infinite if gamma < 1.
                wrong = ops.maximum(1.0 - p, keras.config.epsilon())
                terms *= ops.power(wrong, option["focal_gamma"])
            if self.class_weights:
                terms *= ops.convert_to_tensor(self.class_weights, terms.dtype)
            entropy = ops.mean(ops.sum(terms, axis=-1), axis=axes)
            loss += option["cross_entropy_weight"] * entropy
        if option["dice_weight"]:
            right = ops.sum(p * y_true, axis=axes) + option["smooth"]
            extra = ops.sum(p * (1.0 - y_true), axis=axes)
            missing = ops.sum((1.0 - p) * y_true, axis=axes)
            overlap = right / (
                right + option["alpha"] * extra + option["beta"] * missing
            )  # (classes,) or (batch, classes)
            mean = ops.mean(overlap[..., 1:], axis=-1)
            loss += option["dice_weight"] * (1.0 - mean)
        # Keras divides no scalar by the number of replicas (keras 3.15).
        return ops.reshape(loss, (-1,))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **self.options,
            "class_weights": self.class_weights,
            "divergence": self.divergence,
            "per_image": self.per_image,
        }
