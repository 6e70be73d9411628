"""Scores of what a run made."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras

from kbp.errors import UserError
from kbp.export import Runner
from kbp.training.recipe import Recipe
from kbp.training.safe import check_keras_file
from kbp.training.task import Task
from kbp.training.workdir import read_run

_FILES = (
    "model.keras",
    "model_quantized.keras",
    "model_float32.tflite",
    "model_int8.tflite",
)


def files_of(path: Path) -> list[Path]:
    """Return the model files of a run's folder, or the file itself.

    Raises:
        UserError: there is no such file or folder, or it holds no model.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder.")
    files = [path / name for name in _FILES if (path / name).is_file()]
    if not files:
        raise UserError(f"{path}: holds none of {', '.join(_FILES)}.")
    return files


def recipe_of(path: Path) -> Recipe:
    """Return the recipe of the run that a file or folder belongs to.

    Raises:
        UserError: it belongs to no run.
    """
    folder = path if path.is_dir() else path.parent
    run = read_run(folder)
    if run is None:
        raise UserError(
            f"{path}: belongs to no run of kbp. Say with --recipe whose data "
            "to test on."
        )
    return Recipe.parse(run["recipe"])


def score(path: Path, task: Task) -> float:
    """Return the test score of a `.keras` or `.tflite` file.

    Raises:
        UserError: the file is no model, or does not fit the data.
    """
    predict, shape = open_model(path)
    if shape != task.shape:
        raise UserError(
            f"{path}: takes examples of shape {shape}, but the data have "
            f"{task.shape}. Give the recipe of this model."
        )
    return task.score(predict(task.inputs("test")))


def open_model(path: Path) -> tuple[Callable, tuple[int, ...]]:
    """Open a `.keras` or `.tflite` file.

    Returns:
        `predict(inputs) -> outputs` of float batches, and the shape of one
        example.

    Raises:
        UserError: the file is no model.
    """
    if path.suffix == ".tflite":
        try:
            runner = Runner(path)
        except (FileNotFoundError, ValueError) as error:
            raise UserError(f"{path}: not a .tflite model: {error}") from error
        return runner.predict, tuple(map(int, runner.input["shape"][1:]))
    model = load_keras(path)
    predict = partial(model.predict, batch_size=16, verbose=0)
    return predict, tuple(model.input_shape[1:])


def load_keras(path: Path) -> keras.Model:
    """Load a `.keras` file in safe mode, after looking into it.

    Raises:
        UserError: the file is missing, no Keras model, or could do more than
            hold one.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file.")
    if path.suffix != ".keras":
        raise UserError(f"{path}: not a .keras file.")
    check_keras_file(path)
    try:
        return keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for a broken file
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{path}: cannot be loaded: {reason}") from error
