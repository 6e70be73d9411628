"""The task of a recipe, with its data."""

from pathlib import Path
from typing import TYPE_CHECKING

from kbp.data.registry import DATASETS
from kbp.tasks.registry import TASKS
from kbp.tasks.task import Task

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe


def make_task(recipe: "Recipe", data_dir: str | Path | None = None) -> Task:
    """Load the data of a recipe and return its task.

    Args:
        recipe: see `Task`.
        data_dir: folder of the data sets that are read from files.

    Raises:
        UserError: a file is missing or wrong, or the recipe does not fit it.

    Example:
    >>> from kbp.recipes import Recipe
    >>> from kbp.tasks import make_task
    >>> task = make_task(Recipe.parse({"data": {"image_size": 8}}))
    >>> task.name, task.shape, task.metric
    ('classification', (8, 8, 1), 'accuracy')
    """
    splits = DATASETS[recipe.data.name].load(recipe.data.config, data_dir)
    return TASKS[recipe.task.name](recipe, splits)
