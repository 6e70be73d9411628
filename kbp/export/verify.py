"""Comparing an exported file with the model it came from."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from kbp.export.interpreter import Runner


@dataclass(frozen=True)
class Verification:
    """How far a .tflite file is from its Keras model.

    Attributes:
        outputs: how many output values were compared.
        unit: `"LSB"` (integer steps of the output) or `"float"`.
        maximum: largest absolute difference, in units.
        mean: mean absolute difference, in units.
        within_one: share of the outputs at most one unit apart (for floats:
            within 1e-3 of the largest output).
    """

    outputs: int
    unit: str
    maximum: float
    mean: float
    within_one: float


def verify(
    model: keras.Model, path: str | Path, data: Iterable
) -> Verification:
    """Run a .tflite file and its Keras model on the same data.

    Args:
        model: the model that was exported.
        path: the file.
        data: batches of inputs, or of tuples that begin with the inputs.

    Returns:
        The differences of all outputs.

    Raises:
        ValueError: the data are empty, or it is no .tflite file.
        FileNotFoundError: there is no such file.
    """
    runner = Runner(path)
    differences = []
    largest = 0.0
    for batch in data:
        inputs = batch[0] if isinstance(batch, tuple | list) else batch
        inputs = keras.ops.convert_to_numpy(inputs)
        expected = keras.ops.convert_to_numpy(model(inputs, training=False))
        largest = max(largest, float(np.abs(expected).max()))
        if runner.output_scale:
            expected = runner.quantize_output(expected).astype(np.int32)
        found = runner.predict_raw(inputs).astype(expected.dtype)
        differences.append(np.abs(found - expected).ravel())
    if not differences:
        raise ValueError("The data to verify with hold no batch.")
    gaps = np.concatenate(differences)
    one = 1 if runner.output_scale else 1e-3 * largest
    return Verification(
        outputs=gaps.size,
        unit="LSB" if runner.output_scale else "float",
        maximum=float(gaps.max()),
        mean=float(gaps.mean()),
        within_one=float(np.mean(gaps <= one)),
    )
