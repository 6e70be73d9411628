"""Recipes: what to train, as TOML read into frozen dataclasses."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe

__all__ = ["Recipe"]


def __getattr__(name: str) -> Any:
    # `kbp.recipes.sections` is read where Keras is not imported; recipes need
    # its models.
    if name == "Recipe":
        return importlib.import_module("kbp.recipes.recipe").Recipe
    raise AttributeError(f"module 'kbp.recipes' has no attribute {name!r}")
