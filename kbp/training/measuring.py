"""The rows of a run's result table: what its models and files are worth."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import keras
import numpy as np

from kbp import export, quantization, sparsity
from kbp._utils.files import temporary_folder
from kbp._utils.random_state import kept_random_state
from kbp._utils.run_files import FLOAT32, INT8
from kbp.data.lazy import Lazy, by_parts
from kbp.graph import flatten, plain, transforms, unwrapped
from kbp.layers import ChannelScale, TruncatedRNN
from kbp.reports.stage import POST_TRAINING, Stage
from kbp.tasks import Task
from kbp.training import checkpoint
from kbp.training.compression import rounding

ALL_CHANNELS = "float32 .tflite, all channels"


def keras_stage(
    name: str, model: keras.Model, task: Task, file_size: int | None
) -> Stage:
    """Return the row of a Keras model.

    Args:
        name: of the stage.
        model: the model.
        task: whose test examples it is scored with.
        file_size: of the model in a file, if it is one, in bytes.
    """
    outputs = predicted(model, task)
    ranges = {
        id(weight)
        for rounder in quantization.fake_quantizers(model)
        for weight in rounder.weights
    }
    weights = [
        keras.ops.convert_to_numpy(weight)
        for layer in flatten(model).layers
        if not (
            # A gate for channel masks, which goes with them.
            transforms(layer) and isinstance(unwrapped(layer), ChannelScale)
        )
        for weight in unwrapped(layer).weights
        if id(weight) not in ranges and not _is_carried(weight, layer)
    ]
    return Stage(
        name,
        task.score(outputs),
        sum(w.size for w in weights),
        sum(int(np.count_nonzero(w)) for w in weights),
        file_size,
    )


def _is_carried(weight: keras.Variable, layer: keras.Layer) -> bool:
    """Say whether a weight is a state that training left."""
    carried = layer.carried if isinstance(layer, TruncatedRNN) else ()
    return any(weight is state for state in carried)


def predicted(model: keras.Model, task: Task) -> np.ndarray:
    """Return a Keras model's outputs for a task's test examples."""
    inputs, size = task.inputs("test"), task.batch_size
    if not isinstance(inputs, Lazy):
        return model.predict(task.batches("test"), verbose=0)
    predict = partial(model.predict, batch_size=size, verbose=0)
    return by_parts(lambda x: task.compact(predict(x)), inputs, size)


def float_stages(
    task: Task, trained: keras.Model, pruned: keras.Model, file: Path
) -> list[Stage]:
    """Return the rows of the float models that differ.

    Args:
        task: whose test examples they are scored with.
        trained: the model with masks, if it was pruned.
        pruned: the model without masks.
        file: that holds `pruned`.
    """
    rows, given = [], task.given()
    if given:
        size = len(checkpoint.to_bytes(plain(given)))
        rows.append(keras_stage("as given", given, task, size))
    masked = [*sparsity.masked_layers(trained)]
    size = file.stat().st_size
    if task.recipe.training.epochs or not given:
        rows.append(
            keras_stage("trained", trained, task, None if masked else size)
        )
    if masked:
        rows.append(keras_stage("pruned", pruned, task, size))
    return rows


def post_training_stage(model: keras.Model, task: Task) -> Stage:
    """Return the row of an int8 file for which nothing was trained.

    It says what the training in fake eight bits is worth.

    Args:
        model: as it was before that training.
        task: whose test examples it is scored with, and its recipe.
    """
    with temporary_folder() as folder, kept_random_state():
        batches = task.calibration_batches()
        rounded = rounding.quantization_aware(model, task.recipe, batches)
        file, allowed = folder / INT8, task.recipe.export.allow_float
        export.to_tflite(
            rounded, file, allow_float=allowed, metadata=task.metadata()
        )
        audit, score = export.audit(file), task.score(outputs_of(file, task))
    return Stage(
        POST_TRAINING, score, audit.parameters, audit.nonzero, audit.size
    )


def file_stages(
    files: Mapping[str, Path], task: Task, whole: keras.Model | None
) -> tuple[list[Stage], np.ndarray]:
    """Return the rows of .tflite files, and the outputs of the last one.

    Args:
        files: by the name of the stage; speed-ups are over the first one.
        task: whose test examples they are scored with.
        whole: the model with masks, if its pruned channels are gone in the
            files; speed-ups are over its file then, a row of its own.
    """
    with temporary_folder() as folder:
        if whole:
            path = folder / FLOAT32
            stripped = sparsity.strip(whole)
            export.to_tflite(stripped, path, metadata=task.metadata())
            files = {ALL_CHANNELS: path, **files}
        return _file_stages(files, task)


def _file_stages(
    files: Mapping[str, Path], task: Task
) -> tuple[list[Stage], np.ndarray]:
    section = task.recipe.export
    latencies = export.benchmark(
        list(files.values()),
        num_threads=section.num_threads,
        rounds=section.benchmark_rounds,
    )
    rows = []
    for (name, file), latency in zip(files.items(), latencies, strict=True):
        outputs = outputs_of(file, task)
        audit = export.audit(file)
        rows.append(
            Stage(
                name,
                task.score(outputs),
                audit.parameters,
                audit.nonzero,
                audit.size,
                latency.median,
                latencies[0].median / latency.median,
            )
        )
    return rows, outputs


def outputs_of(file: Path, task: Task) -> np.ndarray:
    """Return the outputs of a .tflite file for a task's test examples."""
    inputs = task.inputs("test")
    if isinstance(inputs, dict):  # not all files keep the names
        inputs = [*inputs.values()]
    predict = export.Runner(file).predict
    return by_parts(lambda part: task.compact(predict(part)), inputs)
