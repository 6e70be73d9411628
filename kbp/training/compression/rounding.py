"""The quantization-aware model that a recipe asks for."""

from typing import Any

import keras

from kbp import quantization
from kbp._utils.random_state import kept_random_state
from kbp.errors import UserError
from kbp.recipes import Recipe


def quantization_aware(
    model: keras.Model, recipe: Recipe, data: Any = None
) -> keras.Model:
    """Give a model fake quantization, and calibrate it.

    Args:
        model: as it was trained.
        recipe: its section `[quantization]` counts.
        data: examples that set the ranges.
    """
    section = recipe.quantization
    products = quantization.ATTENTION_OPS if section.float_attention else ()
    return quantization.quantize_aware(
        model,
        data,
        calibration_examples=section.calibration_examples,
        skip=(*section.skip, *products),
        int16=section.int16,
    )


def check_named_layers(model: keras.Model, recipe: Recipe) -> None:
    """Refuse before training what would be refused after it.

    Raises:
        UserError: a layer that the recipe names is none of the model's, or
            cannot be rounded as it says.
    """
    section = recipe.quantization
    if section.enabled and (section.skip or section.int16):
        try:
            with kept_random_state():
                quantization_aware(model, recipe)
        except ValueError as error:
            raise UserError(f"[quantization]: {error}") from error
