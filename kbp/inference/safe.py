"""Looking into a `.keras` file before Keras does.

Keras's own safe mode has been broken again and again (CVE-2025-1550, -8747,
-9905, -9906, -12058, -49655, CVE-2026-1462, ...). Everything that a file asks
Keras to make must be known here, and its weights must lie in it.
"""

import inspect
import io
import json
import sys
import zipfile
from operator import attrgetter
from pathlib import Path

import h5py
import keras

from kbp.errors import UserError

MEMBERS = {
    "config.json",
    "kbp_seeds.npz",
    "kbp_state.json",
    "metadata.json",
    "model.weights.h5",
}
# What an entry of the zoo is made of.
CLASSES = {
    "keras": {"DTypePolicy", "Sequential"},
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
# What a person's own model may be made of besides: all of these modules, ...
MODULES = (
    *("activations", "constraints", "dtype_policies", "initializers", "layers"),
    *("losses", "metrics", "optimizers", "optimizers.schedules"),
    "regularizers",
)
# ... but for what runs code, or reads files, that lie elsewhere.
UNSAFE = {
    *("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper"),
    *("IntegerLookup", "StringLookup", "TextVectorization"),
    *("deserialize", "get", "serialize"),
}
PLACES = {f"keras.{m}": attrgetter(m)(keras) for m in MODULES}
OWN = "kbp>"  # registered by kbp, so its code is kbp's whatever the file says


def check_keras_file(
    path: Path, *, most_bytes: int | None = None, entry: bool = False
) -> None:
    """Raise a UserError if a file could do more than hold a model.

    Args:
        path: a `.keras` file.
        most_bytes: how large it may be.
        entry: whether it may hold what the zoo's entries hold alone, and not
            all that Keras has.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            unknown = {m.filename for m in members} - MEMBERS
            size = sum(m.file_size for m in members)
            if unknown:
                raise UserError(f"{path}: holds {sorted(unknown)[0]!r}.")
            held = path.stat().st_size
            if most_bytes and held > most_bytes:
                raise UserError(f"{path}: has more than {most_bytes} bytes.")
            if size > held:  # Keras compresses nothing
                raise UserError(f"{path}: unpacks to more than it is.")
            config = json.loads(archive.read("config.json"))
            weights = archive.read("model.weights.h5")
        _check(config, path, _is_of_an_entry if entry else _is_usual)
        _check_weights(weights, path)
    except UserError:
        raise
    except (
        *(AttributeError, KeyError, MemoryError, OSError, RuntimeError),
        *(TypeError, ValueError, zipfile.BadZipFile),
    ) as error:
        raise UserError(f"{path}: no .keras file: {error}") from error


def _check(config, path, is_known):
    if isinstance(config, list):
        for value in config:
            _check(value, path, is_known)
    elif isinstance(config, dict):
        if "class_name" in config and not is_known(config):
            name = f"{config.get('module')}.{config['class_name']}"
            if config["class_name"] == "function":
                name = f"{config.get('module')}.{config.get('config')}"
            raise UserError(
                f"{path}: asks for {name}, which is not known to be safe."
            )
        for value in config.values():
            _check(value, path, is_known)


def _is_of_an_entry(config):
    module, name = config.get("module"), config["class_name"]
    registered = config.get("registered_name") or ""
    if registered.startswith(OWN):
        # What is not registered, Keras would look for in the module; and some
        # names of classes it takes for more than that.
        own = registered == f"{OWN}{name}"
        return (
            own and keras.saving.get_registered_object(registered) is not None
        )
    return _is_unregistered(config) and name in CLASSES.get(module, ())


def _is_unregistered(config):
    """Say whether Keras looks for a class by its module and name alone."""
    registered = config.get("registered_name")
    return registered in (None, "", config["class_name"], config.get("config"))


def _is_usual(config):
    if _is_of_an_entry(config):
        return True
    module, name = config.get("module"), config["class_name"]
    if not isinstance(module, str) or not isinstance(name, str):
        return False
    if not _is_unregistered(config):
        return False
    if module.startswith("keras.src.ops."):
        found = getattr(sys.modules.get(module), name, None)
        return inspect.isclass(found) and issubclass(found, keras.Operation)
    is_kind, names = inspect.isclass, [module]
    if name == "function":
        is_kind, name = inspect.isfunction, str(config.get("config"))
        if module == "builtins":  # Keras looks for it in its own modules
            names = [f"keras.{public}" for public in MODULES]
    return name not in UNSAFE and any(
        is_kind(getattr(PLACES.get(module), name, None)) for module in names
    )


def _check_weights(content, path):
    """Refuse weights that lie in other files, or are larger than the file."""
    with h5py.File(io.BytesIO(content)) as file:
        total, seen = 0, set()

        def look(group):
            nonlocal total
            for name in group:
                link = group.get(name, getlink=True)
                if not isinstance(link, h5py.HardLink):
                    raise UserError(f"{path}: links {name!r} to elsewhere.")
                value = group[name]
                place = h5py.h5o.get_info(value.id).addr
                if place in seen:  # else links could multiply without end
                    raise UserError(f"{path}: links {name!r} twice.")
                seen.add(place)
                if isinstance(value, h5py.Group):
                    look(value)
                    continue
                if value.external or value.is_virtual:
                    raise UserError(f"{path}: keeps {name!r} elsewhere.")
                total += value.nbytes
                if total > len(content):
                    raise UserError(f"{path}: has weights that are not there.")

        look(file)
