"""Scores of model files."""

from pathlib import Path

from kbp.errors import UserError
from kbp.inference.loading import open_model
from kbp.reports.stage import FORMATS
from kbp.tasks.task import Task


def scores(path: Path, task: Task) -> dict[str, str]:
    """Return the test score of a `.keras` or `.tflite` file, and its details.

    Returns:
        Names and values, as text.

    Raises:
        UserError: the file is no model, or does not fit the data.
    """
    predict, shape, _ = open_model(path)
    if shape != task.shape:
        raise UserError(
            f"{path}: takes examples of shape {shape}, but the data have "
            f"{task.shape}. Give the recipe of this model."
        )
    outputs = predict(task.inputs("test"))
    score = FORMATS[task.metric].format(task.score(outputs))
    return {task.metric: score, **task.details(outputs)}
