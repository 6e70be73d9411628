"""The data set of a site."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from kbp.data.partitions.registry import PARTITIONS, Shares, shared
from kbp.errors import UserError
from kbp.recipes.federated import OF_PARTITIONS
from kbp.recipes.recipe import Recipe
from kbp.tasks import Task, make_task

# Keys of `[data]` that say where a person's own files are.
PATHS = ("file", "folder", "images", "masks", "lists")


class Place:
    """A data set that lies somewhere, and how clients share it.

    Args:
        recipe: with a section `[federated]`.
        task: of the data set.
    """

    def __init__(self, recipe: Recipe, task: Task):
        self.recipe, self.task = recipe, task

    @cached_property
    def shares(self) -> Shares:
        """Who holds which examples."""
        section = self.recipe.federated
        return shared(
            self.task.splits,
            section.clients,
            name=section.partition,
            seed=self.recipe.training.seed,
            keys=section.given(PARTITIONS[section.partition], OF_PARTITIONS),
        )


def check_same_kind(task: Task, files: str) -> None:
    """Refuse a data set of other classes, columns or images than the server's.

    Args:
        task: of a client's data set.
        files: what the server's says of itself, as JSON: contents by name.

    Raises:
        UserError: they differ, so that outputs would mean something else.
    """
    for name, text in json.loads(files or "{}").items():
        try:
            task.check_beside(name, text)
        except UserError as error:
            raise UserError(f"the server's {name} {error}") from error


def task_at(recipe: Recipe, data_dir: str | Path | None) -> Task:
    """Return the task of the data set that lies in a folder.

    Args:
        recipe: whose paths in `[data]` begin at the folder, if they are not
            absolute.
        data_dir: the folder; `None` for where the recipe has it.
    """
    found = paths_of(recipe) if data_dir else {}
    inside = {key: str(Path(str(data_dir), x)) for key, x in found.items()}
    config: Any = recipe.data.config
    data = replace(recipe.data, config=replace(config, **inside))
    return make_task(replace(recipe, data=data), data_dir)


def paths_of(recipe: Recipe) -> Mapping[str, str]:
    """Return the keys of `[data]` that are paths, with their values.

    Example:
    >>> data = {"name": "csv_table", "file": "beds.csv", "target": "full"}
    >>> paths_of(Recipe.parse({"data": data}))
    {'file': 'beds.csv'}
    """
    values = recipe.data.to_dict()
    return {key: values[key] for key in PATHS if values.get(key)}
