"""Loading of model files, which are checked for safety first."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import numpy as np

from kbp._utils.run_files import FLOAT32, INT8, MODEL, QUANTIZED_MODEL
from kbp.errors import UserError
from kbp.export import Runner, audit
from kbp.graph import check_finite
from kbp.inference import safe
from kbp.inference.promises import MOST_VALUES, most_values

_FILES = (MODEL, QUANTIZED_MODEL, FLOAT32, INT8)
_Predict = Callable[[np.ndarray], np.ndarray]
_Shape = tuple[int, ...]


def files_of(path: Path) -> list[Path]:
    """Return the model files of a run's folder, or the file itself.

    Args:
        path: path of a run's folder or of a model file.

    Raises:
        UserError: there is no such file or folder, or it holds no model.

    Example:
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "model.keras"
    ...     path.touch()
    ...     files_of(path.parent) == files_of(path) == [path]
    True
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder.")
    files = [path / name for name in _FILES if (path / name).is_file()]
    if not files:
        raise UserError(f"{path}: holds none of {', '.join(_FILES)}.")
    return files


def open_model(path: Path) -> tuple[_Predict, _Shape, _Shape]:
    """Open a `.keras` or `.tflite` file.

    Args:
        path: path of the file.

    Returns:
        `predict(inputs) -> outputs` of float batches, and the shapes of one
        example and of its output.

    Raises:
        UserError: the file is no model with one input and one output, both of
            fixed shapes.

    Example:
    >>> import keras, pathlib, tempfile
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "model.keras"
    ...     model.save(path)
    ...     predict, taken, given = open_model(path)
    >>> taken, given
    ((2,), (3,))
    """
    if path.suffix == ".tflite":
        try:
            audit(path)  # before anything runs
            runner = Runner(path)
        except UserError:
            raise
        except (FileNotFoundError, ValueError) as error:
            raise UserError(f"{path}: not a .tflite model: {error}") from error
        taken, given = [*runner.shapes.values()], [*runner.output_shapes]
        predict = runner.predict
    else:
        model = load_keras(path)
        size = max(1, min(16, MOST_VALUES // most_values(model)))
        size = 2 ** (size.bit_length() - 1)  # parts of 32 are whole batches
        predict = partial(model.predict, batch_size=size, verbose=0)
        taken, given = (
            [tuple(x.shape[1:]) for x in tensors]
            for tensors in (model.inputs, model.outputs)
        )
    shapes = [*taken, *given]
    if len(taken) != 1 or len(given) != 1 or any(None in x for x in shapes):
        raise UserError(
            f"{path}: must have one input and one output, of fixed shapes; has "
            f"{len(taken)} and {len(given)}: {shapes}"
        )
    return predict, taken[0], given[0]


def load_keras(path: Path) -> keras.Model:
    """Check a `.keras` file and load it in safe mode, not compiled.

    So the file may have been compiled with a loss or metric of one's own.

    Args:
        path: path of the file.

    Returns:
        The model.

    Raises:
        UserError: the file is missing, no Keras model or a damaged one, could
            do more than hold one, or has weights that are not finite.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file.")
    if path.suffix != ".keras":
        raise UserError(f"{path}: not a .keras file.")
    model = safe.load(path, compiled=False)
    try:
        check_finite(model)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    return model
