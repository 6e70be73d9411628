"""Strategies of tf.distribute by name, and exchange between workers."""

import contextlib
import functools
import json
import os
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from kbp.errors import UserError, nearest
from kbp.recipes.training import STRATEGIES
from kbp.training.distribution import dropout, keras_workarounds

_USUAL = (
    '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", '
    '"index": 0}}'
)


def create_strategy(name: str = "auto") -> tf.distribute.Strategy:
    """Return a distribution strategy.

    The environment variable TF_CONFIG names the workers, TPU_NAME the TPU. A
    strategy of several workers must be created before TensorFlow does anything
    else, and waits until all of them have started.

    Args:
        name: one of `"one_device"`; `"mirrored"`, one replica on each GPU, or
            on each logical CPU without a GPU; `"multi_worker"`, the same on
            each of several machines; `"tpu"`; `"auto"`, which takes several
            workers, a TPU, several GPUs or else one device, in this order.

    Returns:
        The strategy; `"one_device"` is TensorFlow's default strategy.

    Raises:
        UserError: the name is unknown, or there is no such device.

    Example:
    >>> import kbp
    >>> strategy = kbp.training.create_strategy("one_device")
    >>> strategy.num_replicas_in_sync
    1
    """
    if name == "auto":
        name = _choose()
    if name == "one_device":
        return tf.distribute.get_strategy()  # TensorFlow's default
    if name == "mirrored":
        devices = _gpus() or tf.config.list_logical_devices("CPU")
        return _mirrored(tuple(device.name for device in devices))
    if name == "multi_worker":
        num_workers()
        return _multi_worker()
    if name == "tpu":
        return _tpu()
    if name in ("parameter_server", "ParameterServerStrategy"):
        raise UserError(
            "Keras 3 does not train with ParameterServerStrategy; take "
            "strategy 'multi_worker'"
        )
    raise UserError(f"unknown strategy {name!r}{nearest(name, STRATEGIES)}")


def _choose() -> str:
    if num_workers(default=1) > 1:
        return "multi_worker"
    if os.environ.get("TPU_NAME"):
        return "tpu"
    return "mirrored" if len(_gpus()) > 1 else "one_device"


def _gpus() -> list[Any]:
    return tf.config.list_logical_devices("GPU")


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    # One in a process: a second strategy's collectives would have the keys of
    # the first one's, and fail where the shapes differ (TensorFlow 2.21).
    return keras_workarounds.MirroredStrategy(devices)


@functools.cache
def _multi_worker() -> tf.distribute.Strategy:
    try:
        return keras_workarounds.MultiWorkerStrategy()
    except tf.errors.OpError as error:
        raise ConnectionError(
            "not all workers of TF_CONFIG were there in time; start all of "
            "them, the chief too, which does not begin a run that is finished "
            "or refused"
        ) from error


@functools.cache
def _tpu() -> tf.distribute.Strategy:
    address = os.environ.get("TPU_NAME")
    if not address:  # TensorFlow would look for one on the network
        raise UserError(
            "strategy 'tpu' needs TPU_NAME in the environment; on a TPU VM it "
            "is 'local'"
        )
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(address)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise UserError(
            f"strategy 'tpu': there is no TPU {address!r} here: "
            f"{str(error).splitlines()[0]}"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def num_workers(default: int | None = None) -> int:
    """Return the number of workers that TF_CONFIG names.

    Args:
        default: the result if it names none.

    Raises:
        UserError: TF_CONFIG cannot be read, or names no worker while there
            is no default.
    """
    names, _ = _workers()
    if names:
        return len(names)
    if default is None:
        raise UserError(f"strategy 'multi_worker' needs TF_CONFIG: {_USUAL}")
    return default


def is_chief(name: str) -> bool:
    """Tell whether this process is the one that writes files.

    Args:
        name: name of the strategy.
    """
    names, mine = _workers()
    return (
        name not in ("auto", "multi_worker") or mine in names[:1] or not names
    )


def _workers() -> tuple[list[tuple[str, int]], tuple[str, int]]:
    """Return the workers of TF_CONFIG, the chief first, and this one."""
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        config = json.loads(text)
        cluster = config.get("cluster", {})
        names = [
            (kind, index)
            for kind in ("chief", "worker")
            for index, _ in enumerate(cluster.get(kind, ()))
        ]
        task = config.get("task", {})
        mine = task.get("type"), task.get("index")
        if names and mine not in names:
            raise ValueError
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"TF_CONFIG must be {_USUAL}; received {text!r}"
        ) from error
    if "ps" in cluster:
        raise UserError("TF_CONFIG: Keras 3 does not train with a 'ps'")
    return names, mine


def has_workers(strategy: tf.distribute.Strategy) -> bool:
    """Tell whether several processes train together."""
    return isinstance(strategy, keras_workarounds.MultiWorkerStrategy)


@contextlib.contextmanager
def together(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Turn TensorFlow's errors for a lost worker into one of one line.

    Args:
        strategy: the strategy that trains in the context.

    Raises:
        ConnectionError: another worker stopped, so that none can continue.
    """
    try:
        yield
    except (
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.UnavailableError,
    ) as error:
        if not has_workers(strategy):
            raise
        raise ConnectionError(
            "another worker stopped or cannot be reached. Start all workers "
            "again with `resume=True`; they go on from the last epoch's end."
        ) from error


def describe(strategy: tf.distribute.Strategy) -> str:
    """Describe the devices of a strategy, e.g. `"one CPU"`."""
    kind, replicas = _device(strategy), strategy.num_replicas_in_sync
    where = f"{replicas} replicas, {kind}" if replicas > 1 else f"one {kind}"
    if has_workers(strategy):
        return f"{where}, {num_workers()} workers"
    return where


def _device(strategy: tf.distribute.Strategy) -> str:
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return "TPU"
    return "GPU" if _gpus() else "CPU"


def check_batch_size(batch_size: int, strategy: tf.distribute.Strategy) -> None:
    """Raise a UserError if replicas would get batches of different sizes."""
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise UserError(
            f"training.batch_size must be divisible by the {replicas} "
            f"replicas; received {batch_size}"
        )


def evaluation_batch_size(
    strategy: tf.distribute.Strategy, examples: int, batch_size: int
) -> int:
    """Return a batch size for which every replica gets part of the last batch.

    CPUs need that: TensorFlow 2.21's convolutions give a wrong shape for an
    empty batch. A TPU gets batches of one shape if there is such a size;
    otherwise it pads the last batch itself.

    Args:
        strategy: the strategy of the evaluation.
        examples: number of examples.
        batch_size: largest batch size, of all replicas together.

    Returns:
        The batch size of all replicas together.

    Raises:
        UserError: there is no such size.
    """
    replicas = strategy.num_replicas_in_sync
    device = _device(strategy)
    if device == "TPU":
        sizes = range(batch_size, replicas - 1, -replicas)
        return next((n for n in sizes if not examples % n), batch_size)
    if replicas == 1 or device == "GPU":
        return batch_size
    for size in range(batch_size, replicas - 1, -1):
        rest = examples % size  # the last replica gets what is left at the end
        if not rest or rest > size - size // replicas:
            return size
    raise UserError(
        f"{examples} validation examples cannot be divided among {replicas} "
        "replicas; change data.validation_fraction or training.batch_size"
    )


def prepare(
    model: keras.Model,
    *,
    steps_per_execution: int = 1,
    synchronize_batch_norm: bool = False,
) -> None:
    """Apply the workarounds that a compiled model needs under its strategy.

    Args:
        model: a model that was compiled in the strategy's scope.
        steps_per_execution: the value that it was compiled with.
        synchronize_batch_norm: whether batch normalization takes the mean and
            variance over the batches of all replicas.
    """
    if model.distribute_strategy.num_replicas_in_sync == 1:
        return
    if synchronize_batch_norm:
        for norm in keras_workarounds.find(
            keras.layers.BatchNormalization, model
        ):
            norm.synchronized = True
    dropout.share_draws(model)
    if steps_per_execution > 1:
        keras_workarounds.execute_steps(model, steps_per_execution)


def from_chief(strategy: tf.distribute.Strategy, content: bytes) -> bytes:
    """Send bytes from the chief to every worker.

    Args:
        strategy: the strategy; all of its workers must call this.
        content: the bytes, which count at the chief alone.

    Returns:
        The chief's bytes.
    """
    if not has_workers(strategy):
        return content
    # Collectives take integers of 32 bits. The chief's first replica gives all
    # of them, every other one nothing.
    padded = content + bytes(-len(content) % 4)
    framed = len(content).to_bytes(8, "little") + padded
    parts = strategy.experimental_distribute_values_from_function(
        lambda context: tf.io.decode_raw(
            b"" if context.replica_id_in_sync_group else framed, tf.int32
        )
    )
    framed = strategy.gather(parts, axis=0).numpy().tobytes()
    return framed[8 : 8 + int.from_bytes(framed[:8], "little")]
