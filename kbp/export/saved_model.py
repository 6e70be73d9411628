"""Export to TensorFlow's SavedModel."""

import os
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kbp import graph
from kbp._utils.examples import shapes_of
from kbp._utils.files import new_folder
from kbp._utils.process.disk_errors import tensorflow_writes
from kbp.export.metadata.describing import SIGNATURE

_OF_FILES = (".h5", ".hdf5", ".keras", ".pb", ".tflite", ".zip")


def to_saved_model(model: keras.Model, path: str | Path) -> Path:
    """Write a SavedModel with a dynamic batch.

    It loads with `tf.saved_model.load`, even where neither Keras nor kbp is
    installed: `serve(inputs)` is the model, and the signature
    `"serving_default"`, which TensorFlow Serving calls, takes and gives tensors
    by the names that `to_tflite` writes, too.

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
        if getattr(model, "inputs", None):
            _archive(model).write_out(str(temporary), verbose=False)
        else:  # of a class of its own, whose inputs have no names
            model.export(str(temporary), format="tf_saved_model", verbose=False)
    return path


def _archive(model: keras.Model) -> keras.export.ExportArchive:
    """Return what writes a functional model."""
    single = isinstance(model, keras.Sequential)
    structure = model.inputs[0] if single else model.input
    names = [*shapes_of(model)]
    specs = [
        tf.TensorSpec(x.shape, x.dtype, name=name)
        for name, x in zip(names, model.inputs, strict=True)
    ]
    archive = keras.export.ExportArchive()
    serve = archive.track_and_add_endpoint(
        "serve", model, [keras.tree.pack_sequence_as(structure, specs)]
    )

    @tf.function(autograph=False)
    def by_name(**tensors: Any) -> dict[str, Any]:
        inputs = [tensors[name] for name in names]
        outputs = serve(keras.tree.pack_sequence_as(structure, inputs))
        flat = keras.tree.flatten(outputs)
        return dict(zip(graph.output_names(model), flat, strict=True))

    by_name.get_concrete_function(**dict(zip(names, specs, strict=True)))
    archive.add_endpoint(SIGNATURE, by_name)
    return archive
