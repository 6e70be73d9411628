"""Looking into a `.keras` file before Keras does.

Keras's own safe mode has been broken several times (CVE-2025-1550, -8747,
-9905, -9906 and others). Of a file that may come from elsewhere, everything
that it asks Keras to make must be known here.
"""

import json
import zipfile
from pathlib import Path

import keras

from kbp.errors import UserError

MEMBERS = {
    "config.json",
    "kbp_seeds.npz",
    "metadata.json",
    "model.weights.h5",
}
CLASSES = {
    "keras": {"DTypePolicy"},
    "keras.initializers": {
        *("Constant", "GlorotUniform", "HeNormal", "HeUniform"),
        *("Ones", "RandomNormal", "RandomUniform", "VarianceScaling", "Zeros"),
    },
    "keras.layers": {
        *("Activation", "Add", "AveragePooling2D", "BatchNormalization"),
        *("Concatenate", "Conv1D", "Conv2D", "Conv2DTranspose", "Dense"),
        *("DepthwiseConv2D", "Dropout", "EinsumDense", "Embedding", "Flatten"),
        *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "InputLayer"),
        *("LeakyReLU", "MaxPooling1D", "MaxPooling2D", "Multiply", "Permute"),
        *("ReLU", "Reshape", "Softmax", "SpatialDropout2D", "Subtract"),
        *("UpSampling2D", "ZeroPadding2D"),
    },
    "keras.src.models.functional": {"Functional"},
    "keras.src.models.sequential": {"Sequential"},
    "keras.src.ops.core": {"Cast"},
    "keras.src.ops.image": {"Resize"},
    "keras.src.ops.nn": {"DepthToSpace", "SpaceToDepth"},
    "keras.src.ops.numpy": {
        *("Add", "Concatenate", "Divide", "ExpandDims", "GetItem", "Matmul"),
        *("Maximum", "Mean", "Multiply", "Reshape", "Sqrt", "Square"),
        *("Squeeze", "Subtract", "Transpose", "TrueDivide", "Var"),
    },
    None: {"__keras_tensor__", "__slice__", "__tuple__"},
}
OWN = "kbp>"  # registered by kbp, so its code is kbp's whatever the file says


def check_keras_file(path: Path, *, most_bytes: int) -> None:
    """Raise a UserError if a file holds what a zoo entry's cannot hold.

    Args:
        path: a `.keras` file.
        most_bytes: how large it may be, as it is and unpacked.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            unknown = {m.filename for m in members} - MEMBERS
            size = sum(m.file_size for m in members)
            if unknown:
                raise UserError(f"{path}: holds {sorted(unknown)[0]!r}.")
            if max(size, path.stat().st_size) > most_bytes:
                raise UserError(f"{path}: has more than {most_bytes} bytes.")
            config = json.loads(archive.read("config.json"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: no .keras file: {error}") from error
    _check(config, path)


def _check(config, path):
    if isinstance(config, list):
        for value in config:
            _check(value, path)
    elif isinstance(config, dict):
        if "class_name" in config and not _is_known(config):
            name = f"{config.get('module')}.{config['class_name']}"
            raise UserError(f"{path}: asks for {name}, which no entry needs.")
        for value in config.values():
            _check(value, path)


def _is_known(config):
    module, name = config.get("module"), config["class_name"]
    registered = config.get("registered_name") or ""
    if registered.startswith(OWN):
        # What is not registered, Keras would look for in the module.
        return keras.saving.get_registered_object(registered) is not None
    return name in CLASSES.get(module, ())
