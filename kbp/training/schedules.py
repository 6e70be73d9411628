"""A recipe's optimizer, its learning rates, and the variables that decay."""

from typing import Any

import keras

from kbp.optimizers import HybridOptimizer
from kbp.recipes.sections import OptimizerRecipe


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


def recipe_optimizer(
    section: OptimizerRecipe,
    model: keras.Model,
    learning_rate: float,
    steps: int,
) -> HybridOptimizer:
    """Return the recipe's optimizer: linear warm-up, cosine decay.

    Args:
        section: of the recipe.
        model: that it will train.
        learning_rate: the largest.
        steps: of the training.
    """
    warmup = round(section.warmup * steps)
    optimizer = HybridOptimizer(
        warmup_cosine(learning_rate, steps=steps, warmup_steps=warmup),
        beta_1=section.beta_1,
        beta_2=section.beta_2,
        matrix_steps=section.matrix_steps,
        weight_decay=section.weight_decay or None,
        max_skipped_steps=2**31 - 1,  # `FiniteGradients` decides
    )
    decay_kernels_alone(optimizer, model)
    return optimizer
