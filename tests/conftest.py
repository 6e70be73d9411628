"""Two logical CPU devices, set up once, before TensorFlow starts."""

import gc
import os
import re
import signal
import sys
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from kbp._utils import plugins
from kbp.data.registry import DATASETS
from kbp.export.runtimes import RUNTIMES
from kbp.models.registry import MODELS
from kbp.tasks.registry import TASKS

# The wheel has no weights of the zoo's larger entries.
os.environ["KBP_ZOO"] = str(Path(__file__).parents[1] / "models")
# JAX, which Keras may have imported, would look for a TPU, and keep libtpu from
# who compiles with it.
if jax := sys.modules.get("jax"):
    jax.config.update("jax_platforms", "cpu")

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)
# A graph that runs for a second is not worth a fifth of that to be improved.
# Tests that start a process of their own improve theirs.
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})

# A shell lets what it starts in the background ignore this.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Traced graphs are many objects that live on. Looking for garbage as often as
# Python does by default takes a fifth of the time, mostly among what TensorFlow
# made when it was imported.
gc.freeze()
gc.set_threshold(50_000, 10, 10)

LONGEST = {"training", "tasks", "plugins", "uses", "benchmarks", "test_jax.py"}

_raises = pytest.raises


def _raises_what_is_named(*arguments, **options):
    """Refuse patterns so short that another error's words may match them.

    Such a test passes by accident, and on some processors alone.
    """
    if "match" in options:
        letters = re.sub(r"\W", "", options["match"])
        assert len(letters) > 5, f"{options['match']!r} fits too many errors"
    return _raises(*arguments, **options)


pytest.raises = _raises_what_is_named


@pytest.fixture(autouse=True, scope="module")
def _fresh_names():
    """Name layers of a file's shared fixtures as if it ran alone."""
    keras.utils.clear_session(free_memory=False)


@pytest.fixture(autouse=True)
def _fresh_keras():
    """Give every test the same seed and short layer names."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch):
    """Forget after the test which modules of a person's own it imported."""
    monkeypatch.setattr(plugins, "imported", [*plugins.imported])


@pytest.fixture
def improved_graphs():
    """Let graphs be those of another process, bit by bit."""
    options = tf.config.optimizer
    options.set_experimental_options({"disable_meta_optimizer": False})
    yield
    options.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture
def own_registries(monkeypatch):
    """Forget after the test what it has registered."""
    for registry in (MODELS, DATASETS, RUNTIMES, TASKS):
        list(registry)  # the library's own
        for table in ("_objects", "_origins"):
            monkeypatch.setattr(registry, table, {**getattr(registry, table)})
        monkeypatch.setattr(registry, "_complete", True)


def pytest_collection_modifyitems(items):
    """Begin with the longest files, so that no process ends long after."""
    items.sort(key=lambda item: LONGEST.isdisjoint(item.path.parts))
