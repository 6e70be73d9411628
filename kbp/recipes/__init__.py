"""Recipes: what to train, as TOML read into frozen dataclasses."""

from kbp.recipes.recipe import Recipe

__all__ = ["Recipe"]
