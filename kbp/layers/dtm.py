"""DTM: a differentiable topology mask."""

import math

import keras
from keras import ops

from kbp.layers.kernel_transform import KernelTransform

SCORES = ("magnitude", "signed")
GRANULARITIES = ("element", "channel")


@keras.saving.register_keras_serializable(package="kbp")
class DTM(KernelTransform):
    """Multiply a kernel by a differentiable topology mask.

    The mask decides which connections exist, and gradients reach both the
    weights and the decision:

        m_ij = sigmoid(temperature * (s_ij - threshold))

    with the score `s = |w|` or `s = w`. In training the mask is soft; at
    inference it is hard, `m_ij = 1 if s_ij > threshold else 0`, which is the
    soft mask's limit as the temperature grows. `DTMSchedule` sharpens the
    temperature and drives the threshold to a target sparsity.

    Args:
        temperature: `tau` > 0, in 1 / (unit of the weights). Larger is
            sharper.
        threshold: initial value of the trainable `lambda`, in the unit of the
            score. The default lies so far below all magnitudes that the
            mask starts as all ones.
        score: `"magnitude"`, or `"signed"`, which prunes negative weights.
        granularity: `"element"`, or `"channel"`: one decision per output
            channel (the kernel's last axis), scored by the channel's mean.
        penalty: what the mask adds to the loss in training, times the share
            of ones that it expects, its mean.

    Call arguments:
        kernel: tensor of any shape.
        training: bool, soft mask if true.

    Returns:
        The masked kernel, of the kernel's shape.

    Raises:
        ValueError: an argument is out of range.

    Example:
    >>> import numpy as np, kbp
    >>> dtm = kbp.layers.DTM(threshold=0.5)
    >>> np.asarray(dtm(np.array([[0.2, -0.9]], "float32")))
    array([[ 0. , -0.9]], dtype=float32)
    """

    def __init__(
        self,
        *,
        temperature: float = 50.0,
        threshold: float = -1.0,
        score: str = "magnitude",
        granularity: str = "element",
        penalty: float = 0.0,
        **kwargs,
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
        if score not in SCORES:
            raise ValueError(
                f"Argument `score` must be one of {SCORES}. "
                f"Received: score={score!r}"
            )
        if granularity not in GRANULARITIES:
            raise ValueError(
                f"Argument `granularity` must be one of {GRANULARITIES}. "
                f"Received: granularity={granularity!r}"
            )
        if not 0 <= penalty < math.inf:
            raise ValueError(
                "Argument `penalty` must not be negative, and finite. "
                f"Received: penalty={penalty}"
            )
        self.initial_temperature = float(temperature)
        self.initial_threshold = float(threshold)
        self.score = score
        self.granularity = granularity
        self.penalty = float(penalty)

    def build(self, kernel_shape):
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

    def scores(self, kernel):
        """Return the scores, broadcastable to the kernel."""
        scores = ops.abs(kernel) if self.score == "magnitude" else kernel
        if self.granularity == "channel":
            axes = tuple(range(len(kernel.shape) - 1))
            scores = ops.mean(scores, axis=axes, keepdims=True)
        return scores

    def mask(self, kernel, hard: bool = True):
        """Return the mask, broadcastable to the kernel."""
        scores, threshold = self.scores(kernel), self.threshold
        if hard:
            return ops.cast(scores > threshold, kernel.dtype)
        fixed = ops.stop_gradient(ops.convert_to_tensor(threshold))
        threshold = fixed + self.threshold_gradient * (threshold - fixed)
        return ops.sigmoid(self.temperature * (scores - threshold))

    def call(self, kernel, training=False):
        mask = self.mask(kernel, hard=not training)
        if training and self.penalty:
            self.add_loss(self.penalty * ops.mean(mask))
        return kernel * mask

    def get_config(self):
        return {
            **super().get_config(),
            "temperature": self.initial_temperature,
            "threshold": self.initial_threshold,
            "score": self.score,
            "granularity": self.granularity,
            "penalty": self.penalty,
        }
