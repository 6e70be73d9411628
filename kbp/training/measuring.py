"""The rows of a run's result table: what its models and files are worth."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from kbp import export, quantization
from kbp.graph import flatten, unwrapped
from kbp.reports.stage import Stage
from kbp.tasks import Task


def keras_stage(
    name: str, model: keras.Model, task: Task, file: Path | None
) -> Stage:
    """Return the row of a Keras model.

    Args:
        name: of the stage.
        model: the model.
        task: whose test examples it is scored with.
        file: that holds the model, if there is one.
    """
    outputs = model.predict(task.batches("test"), verbose=0)
    weights = [
        keras.ops.convert_to_numpy(weight)
        for layer in flatten(model).layers
        if not isinstance(layer, quantization.FakeQuantize)
        for weight in unwrapped(layer).weights
    ]
    return Stage(
        name,
        task.score(outputs),
        sum(w.size for w in weights),
        sum(int(np.count_nonzero(w)) for w in weights),
        file.stat().st_size if file else None,
    )


def file_stages(
    files: Mapping[str, Path], task: Task, *, num_threads: int, rounds: int
) -> tuple[list[Stage], np.ndarray]:
    """Return the rows of .tflite files, and the outputs of the last one.

    Args:
        files: by the name of the stage; speed-ups are over the first one.
        task: whose test examples they are scored with.
        num_threads: threads of LiteRT.
        rounds: in which latencies are measured.
    """
    latencies = export.benchmark(
        list(files.values()), num_threads=num_threads, rounds=rounds
    )
    rows = []
    for (name, file), latency in zip(files.items(), latencies, strict=True):
        inputs = task.inputs("test")
        if isinstance(inputs, dict):  # not all files keep the names
            inputs = [*inputs.values()]
        outputs = export.Runner(file).predict(inputs)
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
