"""Scores of model files."""

from pathlib import Path

import numpy as np

from kbp.data.lazy import by_parts
from kbp.errors import UserError
from kbp.reports.result_table import ResultTable
from kbp.tasks.prediction import OpenModel
from kbp.tasks.task import Task


def mean_recall(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean share of right ones over the classes that occur.

    Args:
        predicted: classes, `(examples,)`.
        labels: likewise.
    """
    right = predicted == labels
    return float(
        np.mean([right[labels == label].mean() for label in np.unique(labels)])
    )


def scores(
    path: Path, task: Task, *, tables: bool = True
) -> tuple[dict[str, str], dict[str, ResultTable]]:
    """Return the test score of a `.keras` or `.tflite` file, and its details.

    Args:
        path: of the file.
        task: whose test examples it is scored with.
        tables: whether the task's own tables are asked for.

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
    for name in task.files():
        beside = path.parent / name
        if beside.is_file():
            try:
                text = beside.read_text(encoding="utf-8-sig")
                task.check_beside(name, text)
            except (UnicodeDecodeError, UserError) as error:
                raise UserError(f"{beside}: {error}") from error
    outputs = by_parts(
        lambda part: task.compact(model.predict(part)), task.inputs("test")
    )
    score = task.metric_format.format(task.score(outputs))
    values = {task.metric: score, **task.details(outputs)}
    if not tables:
        return values, {}
    task.calibrate(model.predict)
    task.observe_training(model.predict)
    return values, task.tables(outputs)
