"""The one place that imports TensorFlow Model Optimization (TFMOT)."""

import functools
import os
import warnings
from types import ModuleType


def quantizers() -> ModuleType:
    """Return TFMOT's public module of quantizers."""
    tfmot, _ = modules()
    return tfmot.quantization.keras.quantizers


@functools.cache
def modules() -> tuple[ModuleType, ModuleType]:
    """Import TFMOT and the Keras 2 that it is written for; return both.

    TFMOT 0.8.1 sets `TF_USE_LEGACY_KERAS` for the whole process and, where
    nobody has used `tf.keras` yet, turns it into tf_keras. Both are undone
    here, so that Keras 3 and child processes stay as they were.
    """
    import tensorflow as tf

    _ = tf.keras.__name__  # resolved now, it stays Keras 3
    variable = "TF_USE_LEGACY_KERAS"
    before = os.environ.get(variable)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tf_keras's own deprecations
            import tensorflow_model_optimization as tfmot
            import tf_keras

            return tfmot, tf_keras
    finally:
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before
