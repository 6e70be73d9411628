"""The data set of a site."""

import json
from functools import cached_property

import numpy as np

from kbp.data.partitions.registry import PARTITIONS, shared
from kbp.errors import UserError
from kbp.recipes.federated import OF_PARTITIONS
from kbp.recipes.recipe import Recipe
from kbp.tasks import Task


class Place:
    """A data set that lies somewhere, and how clients share it.

    Args:
        recipe: with a section `[federated]`.
        task: of the data set.
    """

    def __init__(self, recipe: Recipe, task: Task):
        self.recipe, self.task = recipe, task

    @cached_property
    def parts(self) -> list[dict[str, np.ndarray]]:
        """The indices of each client's examples in each split."""
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
