"""Looking into a `.keras` file before Keras does.

Keras's own safe mode has been broken again and again (CVE-2025-1550, -8747,
-9905, -9906, -12058, -49655, CVE-2026-1462, ...). Everything that a file asks
Keras to make must be known here, and its weights must lie in it.
"""

import inspect
import io
import json
import sys
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

import h5py
import keras

from kbp.errors import UserError
from kbp.graph import traits_of_class
from kbp.inference.archive import read_members
from kbp.inference.promises import (
    MOST_BYTES_OF_CONFIG,
    bounded,
    built_once,
    check_activations,
    check_config,
)

Config = dict[str, Any]
MEMBERS = {
    "config.json",
    "kbp_seeds.npz",
    "kbp_state.json",
    "metadata.json",
    "model.weights.h5",
}
# What an entry of the zoo is made of, besides layers and operations whose
# traits call them safe.
CLASSES = {
    "keras": {"DTypePolicy", "Sequential"},
    "keras.initializers": {
        *("Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform"),
        *("Ones", "Orthogonal", "RandomNormal", "RandomUniform"),
        *("VarianceScaling", "Zeros"),
    },
    "keras.regularizers": {"L2"},
    "keras.src.models.functional": {"Functional"},
    "keras.src.models.sequential": {"Sequential"},
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
OPERATIONS = "keras.src.ops."
OWN = "kbp>"  # registered by kbp, so its code is kbp's whatever the file says


def check_keras_file(
    path: Path,
    *,
    most_bytes: int | None = None,
    entry: bool = False,
    compiled: bool = True,
) -> int:
    """Raise a UserError if a file could do more than hold a model.

    Args:
        path: a `.keras` file.
        most_bytes: how large it may be.
        entry: whether it may hold what the zoo's entries hold alone, and not
            all that Keras has. Registered layers whose `kbp.graph.LayerTraits`
            call them safe may be in either.
        compiled: whether the model will be compiled as it was; otherwise its
            losses and metrics may be anybody's, for they are not made.

    Returns:
        The number of weights in the file.

    Raises:
        UserError: the file is no `.keras` file, or asks for what is not known
            to be safe.
    """
    try:
        if most_bytes and path.stat().st_size > most_bytes:
            raise UserError(f"{path}: has more than {most_bytes} bytes.")
        members = read_members(path, MEMBERS)
        if len(members["config.json"]) > MOST_BYTES_OF_CONFIG:
            raise UserError(
                f"{path}: its configuration has more than "
                f"{MOST_BYTES_OF_CONFIG:,} bytes."
            )
        config = json.loads(members["config.json"])
        if not isinstance(json.loads(members["metadata.json"]), dict):
            raise UserError(f"{path}: metadata.json holds no object.")
        check_config(path, config)
        if not compiled:
            config.pop("compile_config", None)
        _check(config, path, _is_of_an_entry if entry else _is_usual)
        return _count_weights(members["model.weights.h5"], path)
    except UserError:
        raise
    except Exception as error:  # HDF5 raises many kinds for damaged bytes
        raise UserError(
            f"{path}: no .keras file, or a damaged one: {one_line(error)}"
        ) from error


def load(
    path: Path,
    *,
    most_bytes: int | None = None,
    entry: bool = False,
    compiled: bool = True,
) -> keras.Model:
    """Check a `.keras` file and load it in safe mode.

    Layers get no more memory than the file has weights for.

    Args:
        path: of the file.
        most_bytes: how large it may be.
        entry: see `check_keras_file`.
        compiled: whether the model is compiled as it was.

    Raises:
        UserError: the file is no `.keras` file, or could do more than hold a
            model, or asks for more than it holds.
    """
    held = check_keras_file(
        path, most_bytes=most_bytes, entry=entry, compiled=compiled
    )
    try:
        with bounded(path, held), built_once():
            model = keras.saving.load_model(
                path, compile=compiled, safe_mode=True
            )
    except UserError:
        raise
    except Exception as error:  # Keras raises many kinds for a broken file
        raise UserError(
            f"{path}: cannot be loaded: {one_line(error)}"
        ) from error
    check_activations(path, model)
    return model


def one_line(error: Exception) -> str:
    """Return what an error says first, or its kind if it says nothing.

    Example:
    >>> one_line(KeyError()), one_line(ValueError("so"))
    ('KeyError', 'so')
    """
    first, *_ = [*str(error).strip().splitlines(), type(error).__name__]
    return first.strip("'\"") or type(error).__name__


def _check(
    config: object, path: Path, is_known: Callable[[Config], bool]
) -> None:
    if isinstance(config, list):
        for value in config:
            _check(value, path, is_known)
    elif isinstance(config, dict):
        if "class_name" in config and not is_known(config):
            name = f"{config.get('module')}.{config['class_name']}"
            if config["class_name"] == "function":
                name = f"{config.get('module')}.{config.get('config')}"
            hint = ""
            if ">" in str(config.get("registered_name")):
                hint = (
                    " Import the module that has it, and register its traits "
                    "with kbp.graph.register_layer_traits."
                )
            raise UserError(
                f"{path}: asks for {name}, which is not known to be safe.{hint}"
            )
        for value in config.values():
            _check(value, path, is_known)


def _is_of_an_entry(config: Config) -> bool:
    module, name = config.get("module"), config["class_name"]
    registered = config.get("registered_name") or ""
    if ">" in registered:
        return _is_registered(registered, name)
    if not _is_unregistered(config):
        return False
    return name in CLASSES.get(module, ()) or _has_safe_traits(module, name)


def _is_registered(registered: str, name: str) -> bool:
    """Say whether a class is kbp's, or has traits that call it safe.

    What is not registered, Keras would look for in the module; and some names
    of classes it takes for more than that.
    """
    found = keras.saving.get_registered_object(registered)
    if registered.startswith(OWN):
        return found is not None and registered == f"{OWN}{name}"
    return (
        inspect.isclass(found)
        and issubclass(found, keras.layers.Layer)
        and found.__name__ == name
        and traits_of_class(found).safe
    )


def _has_safe_traits(module: object, name: object) -> bool:
    """Say whether a layer or operation of Keras's has traits of a safe one."""
    if not isinstance(module, str) or not isinstance(name, str):
        return False
    found: object = None
    if module == "keras.layers":
        found = getattr(keras.layers, name, None)
    elif module.startswith(OPERATIONS):
        found = getattr(sys.modules.get(module), name, None)
    return (
        isinstance(found, type)
        and issubclass(found, keras.Operation)
        and found.__name__ == name
        and traits_of_class(found).safe
    )


def _is_unregistered(config: Config) -> bool:
    """Say whether Keras looks for a class by its module and name alone."""
    registered = config.get("registered_name")
    return registered in (None, "", config["class_name"], config.get("config"))


def _is_usual(config: Config) -> bool:
    if _is_of_an_entry(config):
        return True
    module, name = config.get("module"), config["class_name"]
    if not isinstance(module, str) or not isinstance(name, str):
        return False
    if not _is_unregistered(config):
        return False
    if module.startswith(OPERATIONS):
        found = getattr(sys.modules.get(module), name, None)
        return inspect.isclass(found) and issubclass(found, keras.Operation)
    is_kind: Callable[[object], bool] = inspect.isclass
    names = [module]
    if name == "function":
        is_kind, name = inspect.isfunction, str(config.get("config"))
        if module == "builtins":  # Keras looks for it in its own modules
            names = [f"keras.{public}" for public in MODULES]
    return name not in UNSAFE and any(
        is_kind(getattr(PLACES.get(module), name, None)) for module in names
    )


def _count_weights(content: bytes, path: Path) -> int:
    """Refuse weights that lie in other files, or are larger than the file."""
    with h5py.File(io.BytesIO(content)) as file:
        total, count, seen = 0, 0, set()

        def look(group: h5py.Group) -> None:
            nonlocal total, count
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
                count += value.size or 0
                total += value.nbytes
                if total > len(content):
                    raise UserError(f"{path}: has weights that are not there.")

        look(file)
        return count
