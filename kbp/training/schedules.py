"""The learning rate schedule, and the choice of variables that decay."""

from typing import Any

import keras


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


def decay_kernels_alone(optimizer: Any, model: Any) -> None:
    """Exclude all variables of less than two dimensions from weight decay.

    The next layer can undo the scale of a kernel, but not that of a bias, of a
    normalization's scale or of a mask's threshold.

    Args:
        optimizer: an optimizer of Keras or tf_keras, not built yet.
        model: the model that it trains.
    """
    optimizer.exclude_from_weight_decay(
        [v for v in model.trainable_variables if len(v.shape) < 2]
    )
