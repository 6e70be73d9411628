"""Derivatives by the backend that Keras runs on, in float64."""

import importlib
from typing import Any

import keras


def of_keras() -> Any:
    """Return the module of this folder for Keras's backend.

    Raises:
        ValueError: there is none.
    """
    name = keras.backend.backend()
    if name not in ("jax", "tensorflow"):
        raise ValueError(
            "Diagnostics run on TensorFlow and JAX. Received: "
            f"KERAS_BACKEND={name!r}"
        )
    return importlib.import_module(f"{__name__}.on_{name}")
