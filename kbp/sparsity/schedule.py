"""Driving DTM masks to a target sparsity while a model trains."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike
from tensorboard.summary import Writer

from kbp import graph
from kbp._utils.arguments import check_integer, check_one_of
from kbp.errors import UserError
from kbp.layers import DTM, TransformedLayer
from kbp.sparsity.budget import BUDGETS, Removed, allocate
from kbp.sparsity.channels.cost import COSTS, Cost, Table, check_table
from kbp.sparsity.masks import hard_mask, masked_layers, names_of
from kbp.sparsity.thresholds import scores_of, threshold_of, unit_of
from kbp.sparsity.unmasked import in_words, left_out

MEASURES = ("masks", *COSTS)
Logs = dict[str, float] | None


class DTMSchedule(keras.callbacks.Callback):
    """Sharpen masks and raise thresholds until a target sparsity is reached.

    With `p` the share of the training that is done and
    `x = (p - begin) / (end - begin)`, clipped to [0, 1], the thresholds follow
    the quantile of the scores that makes

        sparsity = target_sparsity * (1 - (1 - x)^3)

    and the masks' temperature grows geometrically from the first to the second
    of `temperatures`. From `end` on the masks are sharp, and what is left of
    the network adapts to them. The thresholds are set once more after the last
    epoch, so the target is met, up to equal scores at the border, which
    stay together; a training that stops earlier misses it.
    `fix_masks` makes the masks permanent, before the model trains on.

    Everything follows from `p`, so a training that is resumed with
    `initial_epoch` continues the same schedule.

    Args:
        target_sparsity: share that goes, in [0, 1). `None` leaves the
            thresholds to the training and drives the temperature alone.
        measure: what the target is a share of: `"masks"`, all masked weights
            or channels; `"parameters"`, `"multiply_adds"` or `"latency"`, of
            the whole model, as it is after `shrink`.
        table: with the measure `"latency"`, what
            `kbp.export.latency_table(model)` gave of the model without masks.
        whole: the network that the target is a share of, if the model is what
            `drop_branches` left of it; not with the measure `"masks"`.
        begin: share of the training that stays dense.
        end: share of the training after which the target stands.
        temperatures: `tau` at `begin` and `end`, in units of 1 / (standard
            deviation of the layer's scores).
        budget: `"uniform"`: the same share in each layer. `"adaptive"`: the
            smallest scores of all layers, each relative to what its layer
            would have left (the LAMP score). `"knapsack"`: what leaves most
            of the scores for what goes by the measure.
        multiple_of: keep a multiple of so many channels, of each group of
            channels that is masked as a whole.
        every: steps from one adjustment to the next; by default as many as
            make 200 adjustments.
        log_dir: folder for TensorBoard, to which each epoch writes the
            sparsity of each layer.

    Attributes:
        history: per epoch, a dict from layer name to sparsity.

    Raises:
        ValueError: an argument is out of range; at the start of training,
            the model has no DTM mask, or not enough to reach the target (the
            message names the layers that hold it back).

    Example:
    >>> import kbp
    >>> schedule = kbp.sparsity.DTMSchedule(0.8, end=0.6)

    Reference:
        The cubic ramp is from Zhu and Gupta, To Prune, or Not to Prune, 2017;
        the adaptive budget from Lee et al., Layer-Adaptive Sparsity for the
        Magnitude-based Pruning, 2021; the knapsack from Shen et al.,
        Structural Pruning via Latency-Saliency Knapsack, 2022.
    """

    def __init__(
        self,
        target_sparsity: float | None,
        *,
        measure: str = "masks",
        table: Table | None = None,
        whole: keras.Model | None = None,
        begin: float = 0.1,
        end: float = 0.7,
        temperatures: tuple[float, float] = (5.0, 500.0),
        budget: str = "adaptive",
        multiple_of: int = 1,
        every: int | None = None,
        log_dir: str | Path | None = None,
    ) -> None:
        super().__init__()
        if target_sparsity is not None and not 0 <= target_sparsity < 1:
            raise ValueError(
                "Argument `target_sparsity` must be in [0, 1). "
                f"Received: target_sparsity={target_sparsity}"
            )
        if not 0 <= begin < end <= 1:
            raise ValueError(
                "Arguments `begin` and `end` must satisfy 0 <= begin < end "
                f"<= 1. Received: begin={begin}, end={end}"
            )
        low, high = temperatures if np.size(temperatures) == 2 else (0, 0)
        if not 0 < low <= high < math.inf:
            raise ValueError(
                "Argument `temperatures` must be two positive numbers, the "
                f"larger last. Received: temperatures={temperatures}"
            )
        check_one_of(MEASURES, measure=measure)
        check_table(measure, table)
        if whole is not None and measure == "masks":
            raise ValueError(
                "Argument `whole` needs a measure of the whole network. "
                f"Received: measure={measure!r}, whole={whole.name}"
            )
        check_one_of(BUDGETS, budget=budget)
        check_integer(multiple_of=multiple_of)
        if every is not None:
            check_integer(every=every)
        self.target_sparsity, self.measure = target_sparsity, measure
        self.table, self.whole = table, whole
        self.begin, self.end = begin, end
        self.temperatures = temperatures
        self.budget, self.multiple_of = budget, multiple_of
        self.every = every
        self.log_dir = log_dir
        self.history: list[dict[str, float]] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        if not self.params["steps"] and self.params["epochs"] == 1:
            raise ValueError(
                "One epoch of unknown length cannot be scheduled. Give `fit` "
                "the argument `steps_per_epoch`."
            )
        self.check(self.model)
        self.progress: float | None = None
        for _, dtm in self.masked:
            dtm.threshold_gradient.assign(float(self.target_sparsity is None))
        self.writer = Writer(str(self.log_dir)) if self.log_dir else None

    def check(self, model: keras.Model) -> None:
        """Raise a UserError if a model's masks cannot reach the target.

        Args:
            model: a model from `apply_dtm`.

        Raises:
            UserError: there is no mask, or they can remove too little; the
                message names the layers that hold it back.
        """
        self.masked = [
            (layer, transform)
            for layer in masked_layers(model)
            for transform in layer.transforms
            if isinstance(transform, DTM)
        ]
        if not self.masked:
            raise UserError(
                f"Model {model.name} has no DTM mask to drive. "
                "Use kbp.sparsity.apply_dtm first."
            )
        self.names = names_of([layer for layer, _ in self.masked])
        self.gates = [x for x, _ in self.masked if len(x.kernel.shape) == 1]
        if self.measure == "latency" and not self.gates:
            raise UserError(
                f"Model {model.name} has masks on single weights alone, and "
                "zeros take as long as other weights. With "
                "`measure='latency'` prune channels: kbp.sparsity.apply_dtm("
                "model, granularity='channel')."
            )
        self.removed: Removed = self._share_of_masks
        part = 1.0  # of the whole network
        if self.measure != "masks":
            cost = self._cost(model, [layer for layer, _ in self.masked])
            self.removed = cost.removed
            if self.whole is not None:
                part = cost.total / self._cost(self.whole, []).total
        self.goal = self.target_sparsity
        if self.goal is not None and part != 1:
            self.goal = max(0.0, 1 - (1 - self.goal) / part)
        sizes = [dtm.size_of(layer.kernel.shape) for layer, dtm in self.masked]
        gone = self._rounded(sizes)
        most = self.removed(gone)
        if self.goal is not None and most < self.goal:
            of = "" if part == 1 else f" of the {part:.1%} that is left"
            left = [size - n for size, n in zip(sizes, gone, strict=True)]
            raise UserError(
                f"Argument `target_sparsity` is out of reach: the masks of "
                f"model {model.name} can remove {most:.1%} at most{of}. "
                f"{self._held_back(model, sizes, left)}"
                f"Received: target_sparsity={self.target_sparsity}"
            )

    def _cost(self, model: keras.Model, masked: list[TransformedLayer]) -> Cost:
        return Cost(graph.flatten(model), masked, self.measure, self.table)

    def _held_back(
        self, model: keras.Model, sizes: Sequence[int], left: Sequence[int]
    ) -> str:
        """Say which masks and layers keep most of what stays."""
        rows = sorted(zip(left, sizes, self.names, strict=True), reverse=True)
        shown = [f"{name} {n} of {size}" for n, size, name in rows[:4]]
        more = f" and {len(rows) - 4} more" if len(rows) > 4 else ""
        multiple = (
            f"a multiple of {self.multiple_of} channels"
            if self.multiple_of > 1
            else "one"
        )
        said = (
            f"Each mask keeps {multiple} at least: {', '.join(shown)}{more}. "
        )
        if self.measure == "masks":
            return said
        kind = ("element", "weights")
        if self.gates:
            kind = ("channel", "channels")
        held = in_words(left_out(model, granularity=kind[0]), kind[1])
        return f"{said}{held} " if held else said

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.epoch, self.due = epoch, 1
        self.adjust(epoch / self.params["epochs"])

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        steps, epochs = self.params["steps"], self.params["epochs"]
        if steps and batch >= self.due:  # several batches may be one call
            every = self.every or max(1, steps * epochs // 200)
            self.due = batch + every - batch % every
            self.adjust((self.epoch + batch / steps) / epochs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.adjust((epoch + 1) / self.params["epochs"])
        masks = [hard_mask(layer) for layer, _ in self.masked]
        shares = [1.0 - float(mask.mean()) for mask in masks]
        sparsity = dict(zip(self.names, shares, strict=True))
        self.history.append(sparsity)
        if logs is not None:
            sizes = [mask.size for mask in masks]
            logs["sparsity"] = float(np.average(shares, weights=sizes))
        if self.writer is not None:
            for name, share in sparsity.items():
                self.writer.add_scalar(f"sparsity/{name}", share, epoch)
            self.writer.flush()

    def state(self) -> dict[str, Any]:
        """Return what a training that goes on within an epoch must know."""
        return {"epoch": self.epoch, "due": self.due, "progress": self.progress}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on within an epoch, in place of `on_epoch_begin`."""
        self.epoch, self.due = state["epoch"], state["due"]
        self.progress = state["progress"]

    def on_train_end(self, logs: Logs = None) -> None:
        if self.writer is not None:
            self.writer.close()

    def adjust(self, progress: float) -> None:
        """Set thresholds and temperatures for a share of the training."""
        if progress == self.progress:
            return  # an epoch begins where the last one ended
        self.progress = progress
        if keras.config.backend() == "jax":
            self.model.jax_state_sync()  # `fit` holds the weights elsewhere
        x = (progress - self.begin) / (self.end - self.begin)
        x = min(max(x, 0.0), 1.0)
        low, high = self.temperatures
        relative = low * (high / low) ** x
        scores = [scores_of(layer, dtm) for layer, dtm in self.masked]
        if not all(np.isfinite(s).all() for s in scores):
            return  # diverged, which is not the masks' to mend
        temperatures = [relative / unit_of(s) for s in scores]
        for (_, dtm), tau in zip(self.masked, temperatures, strict=True):
            dtm.temperature.assign(tau)
        if self.goal is None:
            return
        sparsity = self.goal * (1 - (1 - x) ** 3)
        counts = self._allocated(scores, sparsity)
        for (_, dtm), s, tau, count in zip(
            self.masked, scores, temperatures, counts, strict=True
        ):
            dtm.threshold.assign(threshold_of(s, count, tau))

    def allocation(self, sparsity: float) -> list[int]:
        """Return how many weights or channels would go of each mask.

        Args:
            sparsity: share of what `measure` says, in [0, 1), of the model
                that `check` was given, as its weights are now.
        """
        scores = [scores_of(layer, dtm) for layer, dtm in self.masked]
        return self._allocated(scores, sparsity)

    def _allocated(
        self, scores: Sequence[np.ndarray], sparsity: float
    ) -> list[int]:
        return allocate(
            scores,
            sparsity,
            budget=self.budget,
            rounded=self._rounded,
            removed=self.removed,
        )

    def _rounded(self, counts: Sequence[int]) -> list[int]:
        """Let a multiple of channels stay, or all where there are fewer.

        One weight or channel always stays: a layer without any cuts the
        network.
        """
        result = []
        for (layer, dtm), count in zip(self.masked, counts, strict=True):
            size = dtm.size_of(layer.kernel.shape)
            multiple = self.multiple_of if len(layer.kernel.shape) == 1 else 1
            stay = multiple * max(1, round((size - count) / multiple))
            result.append(size - min(size, stay))
        return result

    def _share_of_masks(self, counts: ArrayLike) -> Any:
        sizes = [dtm.size_of(layer.kernel.shape) for layer, dtm in self.masked]
        return np.sum(counts, axis=-1) / sum(sizes)
