"""Architectures by name."""

import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from kbp._utils.registry import Registry

Builder = TypeVar("Builder", bound=Callable[..., Any])

MODELS: Registry[Callable[..., Any]] = Registry(
    "model.architecture", "kbp.models"
)


# Name of a model inside a model, which learned something before.
BACKBONE = "backbone"
_BY_CHANNEL: set[Callable[..., Any]] = set()
_IN_FLOAT: set[Callable[..., Any]] = set()
# Arguments of builders that a task gives, and no recipe.
GIVEN = ("head", "num_targets", "num_past_covariates")


def register_model(
    name: str, *, by_channel: bool = False, in_float: bool = False
) -> Callable[[Builder], Builder]:
    """Register a builder of models under the name of its architecture.

    A recipe chooses it by `architecture = "<name>"` in `[model]`; the other
    keys there are the builder's keyword-only arguments, but for those of
    `GIVEN`.

    Args:
        name: of the architecture.
        by_channel: whether its forecasts of a channel depend on no other, with
            the same weights for all: then they may be asked for any number.
        in_float: whether its models cannot be computed in eight bits, so that
            recipes which quantize them are refused.

    Returns:
        A decorator for a function `(input_shape, num_outputs, *, ...)` that
        returns a functional Keras model. If it has an argument `head`, tasks
        other than classification choose by it what the model ends with, such as
        "segmentation"; another default than "classification" says that there
        is none for that. A model inside it that is named `"backbone"` stays as
        it is in the first `training.frozen_epochs`. With arguments
        `num_targets` and `num_past_covariates` it may forecast with covariates,
        see `BPTransformer`.

    Raises:
        UserError: another architecture has that name.
        TypeError: a keyword-only argument has no type.

    Example:
    >>> import keras
    >>> from kbp.models import register_model
    >>> @register_model("two_layers")
    ... def TwoLayers(input_shape, num_outputs, *, width: int = 16):
    ...     x = inputs = keras.Input(input_shape)
    ...     x = keras.layers.Flatten()(x)
    ...     x = keras.layers.Dense(width, activation="relu")(x)
    ...     return keras.Model(inputs, keras.layers.Dense(num_outputs)(x))
    >>> from kbp.recipes import Recipe
    >>> recipe = Recipe.parse(
    ...     {"model": {"architecture": "two_layers", "width": 8}}
    ... )
    >>> recipe.model.build((4, 4, 1), 10).output_shape
    (None, 10)
    """

    def register(builder: Builder) -> Builder:
        hints = typing.get_type_hints(builder)
        for argument in keyword_only(builder):
            if argument not in hints:
                raise TypeError(
                    f"Argument `{argument}` of {builder.__qualname__} must "
                    "have a type, which recipes are checked by."
                )
        MODELS.add(name, builder)
        if by_channel:
            _BY_CHANNEL.add(builder)
        if in_float:
            _IN_FLOAT.add(builder)
        return builder

    return register


def keyword_only(builder: Callable[..., Any]) -> dict[str, Any]:
    """Return a builder's keyword-only arguments and their usual values."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(builder).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def forecasts_by_channel(architecture: str) -> bool:
    """Say whether an architecture was registered as one `by_channel`."""
    return MODELS[architecture] in _BY_CHANNEL


def runs_in_float(architecture: str) -> bool:
    """Say whether an architecture was registered as one `in_float`."""
    return MODELS[architecture] in _IN_FLOAT
