"""Tasks by name."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from kbp._utils.registry import Registry

if TYPE_CHECKING:
    from kbp.tasks.task import Task

Kind = TypeVar("Kind", bound="type[Task]")

TASKS: "Registry[type[Task]]" = Registry("task.name", "kbp.tasks")


def register_task(name: str) -> Callable[[Kind], Kind]:
    """Register a class of tasks under the name of the task.

    A recipe has the task of its data set, or the one that it chooses by
    `name = "<name>"` in `[task]`.

    Args:
        name: of the task.

    Returns:
        A decorator for a subclass of `kbp.tasks.Task`.

    Raises:
        UserError: another task has that name.

    Example:
    >>> import numpy as np, keras
    >>> from kbp.tasks import Task, register_task
    >>> @register_task("level")
    ... class Level(Task):
    ...     metric = "MAE"
    ...     def make_loss(self):
    ...         return keras.losses.MeanAbsoluteError()
    ...     def build(self):
    ...         return self.recipe.model.build(self.shape, 1)
    ...     def metrics(self):
    ...         return ["mae"]
    ...     def score(self, outputs, split="test"):
    ...         labels = getattr(self.splits, split).labels
    ...         return float(np.abs(outputs - labels).mean())
    ...     def figures(self, outputs):
    ...         return {}
    >>> from kbp.recipes import Recipe
    >>> Recipe.parse({"task": {"name": "level"}}).task.name
    'level'
    """

    def register(kind: Kind) -> Kind:
        TASKS.add(name, kind)
        kind.name = name
        return kind

    return register


def format_score(metric: str, score: float) -> str:
    """Return a score as the task whose metric it is writes it.

    Args:
        metric: the metric's name; one that no task has may be a person's own.
        score: its value.

    Example:
    >>> from kbp.tasks import format_score
    >>> format_score("accuracy", 0.98765), format_score("my_error", 0.98765)
    ('98.77%', '0.9877')
    """
    for name in TASKS:
        if getattr(TASKS[name], "metric", None) == metric:
            return TASKS[name].metric_format.format(score)
    return f"{score:.4f}"
