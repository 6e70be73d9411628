"""How kbp prunes in the race from a trained network."""

import bisect
from typing import Any

import keras
import numpy as np

from kbp import sparsity
from kbp.sparsity.channels.cost import Cost

# By latency: which power of the speed-up is reached without some branches, and
# the share of the training that follows each.
BRANCHES, RECOVERY = 0.5, 0.03


def dtm_by_latency(training: Any) -> keras.Model:
    """Let branches go one by one, then channels, by kbp's trainable masks."""
    model, start = without_branches(training)
    return close_masks(
        training,
        scored(training, model),
        1 - 1 / training.trial.level,
        start=start,
        measure="latency",
        table=training.table,
        whole=training.teacher,
    )


def dtm_by_parameters(training: Any) -> keras.Model:
    """Remove channels by kbp's trainable masks, for what they weigh."""
    masked = scored(training, training.teacher)
    target = _share_of_parameters(training, masked)
    return close_masks(training, masked, target, measure="parameters")


def close_masks(
    training: Any,
    masked: keras.Model,
    target: float,
    *,
    start: float = 0.0,
    **options: Any,
) -> keras.Model:
    """Train while masks close, and on without what they removed.

    Args:
        training: of the trial.
        masked: the model with masks.
        target: of the schedule.
        start: share of the training that is done.
        **options: others of the schedule.
    """
    protocol = training.protocol
    schedule = sparsity.DTMSchedule(
        target,
        begin=0.0,
        end=0.9,
        budget="knapsack",
        multiple_of=protocol.multiple_of,
        **options,
    )
    stop = start + protocol.end
    training.fit(masked, schedule, start=start, stop=stop)
    small = sparsity.shrink(masked, multiple_of=protocol.multiple_of)
    training.fit(small, start=stop)
    return small


def without_branches(training: Any) -> tuple[keras.Model, float]:
    """Let the branches go that the dense network can spare, one by one.

    Returns:
        What is left, and the share of the training that is done.
    """
    protocol, teacher, done = training.protocol, training.teacher, 0.0

    def train(model: keras.Model) -> None:
        nonlocal done
        training.fit(model, start=done, stop=done + RECOVERY)
        done += RECOVERY

    training.compile(teacher, 0, protocol.steps, 0.0)
    left = sparsity.drop_branches(
        teacher,
        training.batches(),
        share=1 - training.trial.level**-BRANCHES,
        measure="latency",
        table=training.table,
        train=train,
        steps=protocol.score_steps,
    )
    return left, done


def gated(model: keras.Model) -> keras.Model:
    """Return a model with gates on all groups of channels."""
    return sparsity.apply_dtm(model, granularity="channel", protect_ends=False)


def scored(training: Any, model: keras.Model) -> keras.Model:
    """Return a model with gates that begin with Taylor scores."""
    masked = gated(model)
    training.compile(masked, 0, training.protocol.steps, 0.0)
    sparsity.score_by_taylor(
        masked,
        training.batches(),
        steps_per_epoch=training.protocol.score_steps,
    )
    return masked


def dtm_zeros(training: Any) -> keras.Model:
    """Make zeros with kbp's trainable masks, then train on."""
    masked = sparsity.apply_dtm(training.teacher)
    schedule = sparsity.DTMSchedule(training.trial.level, begin=0.0, end=0.7)
    training.fit(masked, schedule)
    return sparsity.strip(masked)


def _share_of_parameters(training: Any, masked: keras.Model) -> float:
    """Return the share of the parameters that goes at the level's latency."""
    schedule = sparsity.DTMSchedule(
        0.0,
        measure="parameters",
        budget="knapsack",
        multiple_of=training.protocol.multiple_of,
    )
    schedule.check(masked)
    gates = [gate for gate, _ in schedule.masked]
    cost = Cost(masked, gates, "latency", training.table)
    shares = np.linspace(0.0, 0.99, 100)
    found = bisect.bisect_left(
        shares,
        -training.milliseconds,
        key=lambda share: -float(cost.left(schedule.allocation(share))),
    )
    return float(shares[min(found, len(shares) - 1)])
