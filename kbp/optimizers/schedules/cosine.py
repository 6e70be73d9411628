"""A cosine that falls to 0 at the end of the training."""

from typing import Any

import keras

from kbp.optimizers.schedules.registry import register_schedule


def warmup_cosine(
    peak: float, *, steps: int, warmup_steps: int, keras: Any = keras
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return a schedule: a linear rise to `peak`, then a cosine to 0.

    Args:
        peak: the highest learning rate.
        steps: number of steps of the training, with the warm-up.
        warmup_steps: number of steps in which the learning rate rises from 0.
        keras: the package of the schedule, Keras or tf_keras.

    Returns:
        A Keras schedule.
    """
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup_steps else peak,
        max(1, steps - warmup_steps),
        warmup_target=peak if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


@register_schedule("cosine")
def cosine(
    rate: float, *, steps: int, warmup_steps: int, epoch_steps: int
) -> Any:
    """Return half a cosine, from the peak to 0 at the last step."""
    return warmup_cosine(rate, steps=steps, warmup_steps=warmup_steps)
