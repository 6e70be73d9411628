"""Strategies of tf.distribute by name."""

import functools

import tensorflow as tf

from kbp.errors import UserError, nearest

STRATEGIES = ("auto", "one_device", "mirrored")


def create_strategy(name: str = "auto") -> tf.distribute.Strategy:
    """Return a distribution strategy.

    Args:
        name: `"one_device"`; `"mirrored"`: one replica on each GPU, or where
            there is none on each logical CPU; `"auto"`: mirrored with two or
            more GPUs, one device otherwise.

    Raises:
        UserError: the name is unknown.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if name == "auto":
        name = "mirrored" if len(gpus) > 1 else "one_device"
    if name == "one_device":
        return tf.distribute.get_strategy()  # TensorFlow's default
    if name == "mirrored":
        devices = gpus or tf.config.list_logical_devices("CPU")
        return _mirrored(tuple(device.name for device in devices))
    raise UserError(f"unknown strategy {name!r}{nearest(name, STRATEGIES)}")


@functools.cache
def _mirrored(devices):
    # One in a process: a second strategy's collectives would have the keys of
    # the first one's, and fail where the shapes differ (TensorFlow 2.21).
    return tf.distribute.MirroredStrategy(devices)


def describe(strategy: tf.distribute.Strategy) -> str:
    """Say what a strategy runs on, e.g. `"one device, CPU"`."""
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    replicas = strategy.num_replicas_in_sync
    return f"{replicas} replicas, {kind}" if replicas > 1 else f"one {kind}"


def check_batch_size(batch_size: int, strategy: tf.distribute.Strategy) -> None:
    """Raise a UserError if replicas would get batches of different sizes."""
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise UserError(
            f"training.batch_size must be divisible by the {replicas} "
            f"replicas; received {batch_size}"
        )
