"""The learning rate over a training, and what decays."""

from typing import Any

import keras


def warmup_cosine(
    peak: float, *, steps: int, warmup_steps: int, keras: Any = keras
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return a schedule: a linear rise to `peak`, then a cosine to 0.

    Args:
        peak: the highest learning rate.
        steps: of the training, the warm-up included.
        warmup_steps: in which the learning rate rises from 0.
        keras: the package that makes the schedule, Keras or tf_keras.
    """
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup_steps else peak,
        max(1, steps - warmup_steps),
        warmup_target=peak if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


def decay_kernels_alone(optimizer: Any, model: Any) -> None:
    """Exclude all variables of less than two dimensions from weight decay.

    A kernel's size is the next layer's to undo; a bias, a norm's scale or a
    mask's threshold has a meaning of its own.

    Args:
        optimizer: of Keras or tf_keras, not built yet.
        model: whose variables it trains.
    """
    optimizer.exclude_from_weight_decay(
        [v for v in model.trainable_variables if len(v.shape) < 2]
    )
