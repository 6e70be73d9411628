"""Export to TensorFlow's SavedModel."""

import os
from pathlib import Path

import keras

from kbp._utils.files import new_folder
from kbp._utils.process.disk_errors import tensorflow_writes

_OF_FILES = (".h5", ".hdf5", ".keras", ".pb", ".tflite", ".zip")


def to_saved_model(model: keras.Model, path: str | Path) -> Path:
    """Write a SavedModel with one serving signature and a dynamic batch.

    It loads with `tf.saved_model.load`, even where neither Keras nor kbp is
    installed.

    Args:
        model: a built model.
        path: folder to write, which must not exist yet.

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder exists.
        UserError: no folder can be written there.
        ValueError: its name ends as a file's, such as `.h5`.

    Example:
    >>> import keras, tempfile, kbp
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = kbp.export.to_saved_model(model, f"{folder}/saved")
    ...     (path / "saved_model.pb").is_file()
    True
    """
    path = Path(path)
    if path.suffix in _OF_FILES:
        raise ValueError(
            "Argument `path` must be a folder, whose name does not end as a "
            f"file's. Received: path={str(path)!r}"
        )
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists. Choose another folder.")
    with new_folder(path) as temporary, tensorflow_writes(temporary):
        model.export(str(temporary), format="tf_saved_model", verbose=False)
    return path
