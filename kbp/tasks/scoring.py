"""Scores of model files."""

from pathlib import Path

from kbp.errors import UserError
from kbp.reports.stage import ResultTable
from kbp.tasks.prediction import OpenModel
from kbp.tasks.task import Task


def scores(
    path: Path, task: Task
) -> tuple[dict[str, str], dict[str, ResultTable]]:
    """Return the test score of a `.keras` or `.tflite` file, and its details.

    Returns:
        Names and values, as text; and the task's own tables, by heading.

    Raises:
        UserError: the file is no model, or does not fit the data.
    """
    model = OpenModel.open(path)
    if model.inputs != task.shape:
        raise UserError(
            f"{path}: takes examples of shape {model.inputs}, but the data "
            f"have {task.shape}. Give the recipe of this model."
        )
    outputs = model.predict(task.inputs("test"))
    score = task.metric_format.format(task.score(outputs))
    return {task.metric: score, **task.details(outputs)}, task.tables(outputs)
