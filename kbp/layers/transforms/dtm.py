"""DTM: a differentiable topology mask."""

import math
from typing import Any

import keras
from keras import ops

from kbp._utils.arguments import check_one_of, check_penalty
from kbp._utils.types import Tensor
from kbp.layers.transforms.kernel_transform import KernelTransform

SCORES = ("magnitude", "signed")
GRANULARITIES = ("element", "channel")
ESTIMATORS = ("straight_through", "exact")


@keras.saving.register_keras_serializable(package="kbp")
class DTM(KernelTransform):
    """Multiply a kernel by a differentiable topology mask.

    The mask decides which connections exist, and gradients reach both the
    weights and the decision:

        m_ij = sigmoid(temperature * (s_ij - threshold))

    with the score `s = |w|` or `s = w`. At inference the mask is hard,
    `m_ij = 1 if s_ij > threshold else 0`, which is the soft mask's limit as
    the temperature grows. `DTMSchedule` sharpens the temperature and drives the
    threshold to a target sparsity.

    In training, the straight-through estimator uses the hard mask too, and
    passes the gradient of the masked kernel on to all weights, so that a
    pruned one can come back; the threshold gets the soft mask's gradient. The
    exact estimator trains the soft mask by its own derivative, which grows with
    the temperature.

    Args:
        temperature: `tau` > 0, in 1 / (unit of the weights). A larger one
            makes the mask sharper.
        threshold: initial value of the trainable `lambda`, in the unit of the
            score. The default lies so far below all magnitudes that the
            mask starts as all ones.
        score: `"magnitude"`, or `"signed"`, which prunes negative weights.
        granularity: `"element"`, or `"channel"`: one mask entry for each
            output channel (the kernel's last axis), which the mean of the
            channel's scores decides.
        estimator: `"straight_through"` or `"exact"`.
        penalty: factor of a term of the training loss, the soft mask's mean
            (the expected share of ones).

    Call arguments:
        kernel: tensor of any shape.
        training: bool; in training, gradients reach the mask.

    Returns:
        The masked kernel, of the kernel's shape.

    Raises:
        ValueError: an argument is out of range.

    Example:
    >>> import numpy as np, kbp
    >>> dtm = kbp.layers.DTM(threshold=0.5)
    >>> np.asarray(dtm(np.array([[0.2, -0.9]], "float32")))
    array([[ 0. , -0.9]], dtype=float32)

    Reference:
        The straight-through estimator: Bengio et al., Estimating or Propagating
        Gradients Through Stochastic Neurons, 2013.
    """

    def __init__(
        self,
        *,
        temperature: float = 50.0,
        threshold: float = -1.0,
        score: str = "magnitude",
        granularity: str = "element",
        estimator: str = "straight_through",
        penalty: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not (temperature > 0 and math.isfinite(temperature)):
            raise ValueError(
                "Argument `temperature` must be positive and finite. "
                f"Received: temperature={temperature}"
            )
        if not math.isfinite(threshold):
            raise ValueError(
                "Argument `threshold` must be finite. "
                f"Received: threshold={threshold}"
            )
        check_one_of(SCORES, score=score)
        check_one_of(GRANULARITIES, granularity=granularity)
        check_one_of(ESTIMATORS, estimator=estimator)
        check_penalty(penalty=penalty)
        self.initial_temperature = float(temperature)
        self.initial_threshold = float(threshold)
        self.score = score
        self.granularity = granularity
        self.estimator = estimator
        self.penalty = float(penalty)

    def build(self, kernel_shape: tuple[int, ...]) -> None:
        self.threshold = self.add_weight(
            name="threshold",
            shape=(),
            initializer=keras.initializers.Constant(self.initial_threshold),
        )
        self.temperature = self.add_weight(
            name="temperature",
            shape=(),
            initializer=keras.initializers.Constant(self.initial_temperature),
            trainable=False,
        )
        # 1, or 0 while a schedule drives the threshold: at a high temperature
        # its gradient is large, and a step would undo the schedule's.
        self.threshold_gradient = self.add_weight(
            name="threshold_gradient",
            shape=(),
            initializer="ones",
            trainable=False,
        )

    def scores(self, kernel: Tensor) -> Tensor:
        """Return the scores, broadcastable to the kernel."""
        scores = ops.abs(kernel) if self.score == "magnitude" else kernel
        if self.granularity == "channel":
            axes = tuple(range(len(kernel.shape) - 1))
            scores = ops.mean(scores, axis=axes, keepdims=True)
        return scores

    def size_of(self, kernel_shape: tuple[int, ...]) -> int:
        """Return the number of mask entries that a kernel has."""
        if self.granularity == "channel":
            return kernel_shape[-1]
        return math.prod(kernel_shape)

    def mask(self, kernel: Tensor, hard: bool = True) -> Tensor:
        """Return the mask, broadcastable to the kernel."""
        scores, threshold = self.scores(kernel), self.threshold
        if hard:
            return ops.cast(scores > threshold, kernel.dtype)
        fixed = ops.stop_gradient(ops.convert_to_tensor(threshold))
        threshold = fixed + self.threshold_gradient * (threshold - fixed)
        return ops.sigmoid(self.temperature * (scores - threshold))

    def call(self, kernel: Tensor, training: bool = False) -> Tensor:
        if not training:
            return kernel * self.mask(kernel)
        if self.penalty:
            expected = ops.mean(self.mask(kernel, hard=False))
            self.add_loss(self.penalty * expected)
        if self.estimator == "exact":
            return kernel * self.mask(kernel, hard=False)
        fixed = ops.stop_gradient(kernel)
        masked = fixed * self.mask(fixed)
        by_threshold = fixed * self.mask(fixed, hard=False)
        # The differences are zero: they are there for their gradients.
        return (
            masked
            + (kernel - fixed)
            + (by_threshold - ops.stop_gradient(by_threshold))
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "temperature": self.initial_temperature,
            "threshold": self.initial_threshold,
            "score": self.score,
            "granularity": self.granularity,
            "estimator": self.estimator,
            "penalty": self.penalty,
        }
