"""Two logical CPU devices, set up once, before TensorFlow starts."""

import keras
import pytest
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)


@pytest.fixture(autouse=True)
def _fresh_keras():
    """Give every test the same seed and short layer names."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


def pytest_collection_modifyitems(items):
    """Begin with the longest files, so that no process ends long after."""
    items.sort(key=lambda item: "training" not in item.path.parts)
