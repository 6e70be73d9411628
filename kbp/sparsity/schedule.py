"""Driving DTM masks to a target sparsity while a model trains."""

import math

import keras
import numpy as np

from kbp import graph
from kbp.layers import DTM
from kbp.sparsity.masks import hard_mask, masked_layers


class DTMSchedule(keras.callbacks.Callback):
    """Sharpen masks and raise thresholds until a target sparsity is reached.

    With `p` the share of the training that is done and
    `x = (p - begin) / (end - begin)`, clipped to [0, 1], each masked layer's
    threshold follows the quantile of its scores that makes

        sparsity = target_sparsity * (1 - (1 - x)^3)

    and its temperature grows geometrically from the first to the second of
    `temperatures`. From `end` on the masks are sharp, and what is left of the
    network adapts to them. The last threshold is set when training ends, so
    the target is met exactly.

    Everything follows from `p`, so a training that is resumed with
    `initial_epoch` continues the same schedule.

    Args:
        target_sparsity: share of zeros in each masked kernel, in [0, 1).
        begin: share of the training that stays dense.
        end: share of the training after which the target stands.
        temperatures: `tau` at `begin` and `end`, in units of 1 / (standard
            deviation of the layer's scores).
        every: steps from one adjustment to the next.

    Attributes:
        history: per epoch, a dict from layer name to sparsity.

    Raises:
        ValueError: an argument is out of range; at the start of training,
            the model has no DTM mask.

    Example:
    >>> import kbp
    >>> schedule = kbp.sparsity.DTMSchedule(0.8, end=0.6)

    Reference:
        The cubic ramp is from Zhu and Gupta, To Prune, or Not to Prune, 2017.
    """

    def __init__(
        self,
        target_sparsity: float,
        *,
        begin: float = 0.1,
        end: float = 0.7,
        temperatures: tuple[float, float] = (5.0, 500.0),
        every: int = 10,
    ):
        super().__init__()
        if not 0 <= target_sparsity < 1:
            raise ValueError(
                "Argument `target_sparsity` must be in [0, 1). "
                f"Received: target_sparsity={target_sparsity}"
            )
        if not 0 <= begin < end <= 1:
            raise ValueError(
                "Arguments `begin` and `end` must satisfy 0 <= begin < end "
                f"<= 1. Received: begin={begin}, end={end}"
            )
        if not 0 < temperatures[0] <= temperatures[1]:
            raise ValueError(
                "Argument `temperatures` must be two positive numbers, the "
                f"larger last. Received: temperatures={temperatures}"
            )
        if every < 1:
            raise ValueError(
                f"Argument `every` must be positive. Received: every={every}"
            )
        self.target_sparsity = target_sparsity
        self.begin, self.end = begin, end
        self.temperatures = temperatures
        self.every = every
        self.history: list[dict[str, float]] = []

    def on_train_begin(self, logs=None):
        self.masked = [
            (layer, transform)
            for layer in masked_layers(self.model)
            for transform in graph.transforms(layer)
            if isinstance(transform, DTM)
        ]
        if not self.masked:
            raise ValueError(
                f"Model {self.model.name} has no DTM mask to drive. "
                "Use kbp.sparsity.apply_dtm first."
            )

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self.adjust(epoch / self.params["epochs"])

    def on_train_batch_begin(self, batch, logs=None):
        steps = self.params["steps"]
        if steps and batch and batch % self.every == 0:
            self.adjust((self.epoch + batch / steps) / self.params["epochs"])

    def on_epoch_end(self, epoch, logs=None):
        self.adjust((epoch + 1) / self.params["epochs"])
        sparsity = {
            layer.name: 1.0 - float(hard_mask(layer).mean())
            for layer, _ in self.masked
        }
        self.history.append(sparsity)
        if logs is not None:
            sizes = [math.prod(layer.kernel.shape) for layer, _ in self.masked]
            logs["sparsity"] = float(
                np.average(list(sparsity.values()), weights=sizes)
            )

    def adjust(self, progress: float) -> None:
        """Set thresholds and temperatures for a share of the training."""
        if keras.config.backend() == "jax":
            self.model.jax_state_sync()  # `fit` holds the weights elsewhere
        x = (progress - self.begin) / (self.end - self.begin)
        x = min(max(x, 0.0), 1.0)
        sparsity = self.target_sparsity * (1 - (1 - x) ** 3)
        low, high = self.temperatures
        relative = low * (high / low) ** x
        for layer, dtm in self.masked:
            kernel = keras.ops.convert_to_tensor(layer.kernel)
            scores = keras.ops.convert_to_numpy(dtm.scores(kernel)).ravel()
            temperature = relative / max(float(scores.std()), 1e-12)
            dtm.temperature.assign(temperature)
            dtm.threshold.assign(_threshold(scores, sparsity, temperature))


def _threshold(scores, sparsity, temperature):
    """Return the threshold at or below which a share of the scores lies."""
    # One weight or channel always stays: a layer without any cuts the network.
    count = min(round(sparsity * scores.size), scores.size - 1)
    if count == 0:  # so far below that even the soft mask is nearly one
        return float(scores.min()) - 8.0 / temperature
    return float(np.partition(scores, count - 1)[count - 1])
