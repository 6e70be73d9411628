"""Verification of an exported file against its Keras model."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kbp.export.interpreter import Runner


@dataclass(frozen=True)
class Verification:
    """How far a .tflite file is from its Keras model.

    Attributes:
        outputs: number of output values that were compared.
        unit: `"LSB"` (integer steps of the output) or `"float"`.
        maximum: largest absolute difference, in units.
        mean: mean absolute difference, in units.
        within_one: share of the outputs that differ by at most one unit (for
            floats: by 1e-3 of the largest output).
        metrics: by the name of each metric, its values for the Keras model
            and for the file.

    Example:
    >>> import kbp
    >>> kbp.export.Verification(10, "LSB", 1.0, 0.1, 1.0).within_one
    1.0
    """

    outputs: int
    unit: str
    maximum: float
    mean: float
    within_one: float
    metrics: dict[str, tuple[float, float]] = field(default_factory=dict)


def verify(
    model: keras.Model,
    path: str | Path,
    data: Iterable[Any],
    *,
    metrics: Sequence[keras.Metric] = (),
    reference: bool = False,
) -> Verification:
    """Run a .tflite file and its Keras model on the same data.

    Args:
        model: the model that was exported.
        path: path of the file.
        data: batches of inputs, or of tuples that begin with the inputs; with
            `metrics`, of tuples of inputs and targets.
        metrics: metrics of the task, which are reset before and after.
        reference: whether LiteRT's reference kernels run instead of XNNPACK.

    Returns:
        The differences of all outputs, and the metrics of both.

    Raises:
        ValueError: the data are empty or have no targets for the metrics, or
            LiteRT does not run the file.
        FileNotFoundError: the file does not exist.

    Example:
    >>> import keras, numpy as np, tempfile, kbp
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> batches = [np.ones((5, 2), "float32")]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/model.tflite"
    ...     _ = kbp.export.to_tflite(model, path)
    ...     verification = kbp.export.verify(model, path, batches)
    >>> verification.outputs, verification.unit, verification.within_one
    (15, 'float', 1.0)
    """
    runner = Runner(path, reference=reference)
    differences, batches = [], []
    largest = 0.0
    for batch in data:
        pair = isinstance(batch, tuple | list)
        if metrics and not (pair and len(batch) > 1):
            raise ValueError(
                "The data to verify with hold no targets for the metrics."
            )
        inputs = keras.ops.convert_to_numpy(batch[0] if pair else batch)
        # Some processors' convolutions take an empty batch, others do not.
        if not len(inputs):
            continue
        outputs = keras.ops.convert_to_numpy(model(inputs, training=False))
        found = runner.predict_raw(inputs)
        if metrics:
            batches.append((batch[1], outputs, runner.dequantize_output(found)))
        largest = max(largest, float(np.abs(outputs).max()))
        expected = outputs
        if runner.output_scale:
            expected = runner.quantize_output(outputs).astype(np.int32)
        differences.append(np.abs(found.astype(expected.dtype) - expected))
    if not differences:
        raise ValueError("The data to verify with hold no batch.")
    gaps = np.concatenate([x.ravel() for x in differences])
    one = 1 if runner.output_scale else 1e-3 * largest
    return Verification(
        outputs=gaps.size,
        unit="LSB" if runner.output_scale else "float",
        maximum=float(gaps.max()),
        mean=float(gaps.mean()),
        within_one=float(np.mean(gaps <= one)),
        metrics={
            metric.name: (
                _value(metric, batches, 1),
                _value(metric, batches, 2),
            )
            for metric in metrics
        },
    )


def _value(
    metric: keras.Metric,
    batches: Sequence[tuple[Any, np.ndarray, np.ndarray]],
    index: int,
) -> float:
    metric.reset_state()
    for batch in batches:
        metric.update_state(batch[0], batch[index])
    value = float(metric.result())
    metric.reset_state()
    return value
