"""How far the outputs of other runtimes are from those of LiteRT."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from kbp.export.interpreter import Runner

_FLOAT_STEPS = 128  # of the largest output, about what an integer step is


@dataclass(frozen=True)
class Agreement:
    """How far a runtime's outputs are from those of LiteRT at one thread.

    Attributes:
        runtime: `"threads"` (LiteRT on all cores) or `"reference"` (LiteRT's
            reference kernels).
        outputs: number of values that were compared.
        maximum: largest difference, in integer steps; of floats, as a share of
            the largest output.
        exact: share of the outputs that are the same.
        within_one: share within one step; of floats, within a 128th of the
            largest output.

    Example:
    >>> Agreement("threads", 10, 0.0, 1.0, 1.0).within_one
    1.0
    """

    runtime: str
    outputs: int
    maximum: float
    exact: float
    within_one: float


def compare_kernels(
    path: str | Path, inputs: Sequence[np.ndarray]
) -> tuple[Agreement, ...]:
    """Run a .tflite file on all cores and with reference kernels.

    Args:
        path: path of the file.
        inputs: for each input a batch of examples.

    Returns:
        For each way its agreement with XNNPACK at one thread.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: a way does not run the file, or there are no examples.

    Example:
    >>> import kbp.zoo
    >>> x = np.zeros((1, 32, 32, 1), "float32")
    >>> found = compare_kernels(kbp.zoo.file(kbp.zoo.DEFAULT), [x])
    >>> [each.runtime for each in found]
    ['threads', 'reference']
    """
    if not inputs or not len(inputs[0]):
        raise ValueError("Argument `inputs` must hold examples. Received: none")
    right = _outputs(Runner(path), inputs)
    ways = {
        "threads": Runner(path, num_threads=os.cpu_count() or 1),
        "reference": Runner(path, reference=True),
    }
    return tuple(
        _agreement(name, right, _outputs(runner, inputs))
        for name, runner in ways.items()
    )


def _outputs(runner: Runner, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    return keras.tree.flatten(runner.predict_raw(list(inputs)))


def _agreement(
    name: str, right: Sequence[np.ndarray], found: Sequence[np.ndarray]
) -> Agreement:
    gaps, steps = [], []
    for x, y in zip(right, found, strict=True):
        gap = np.abs(y.astype("float64") - x.astype("float64")).ravel()
        largest = float(np.abs(x).max()) or 1.0
        is_float = x.dtype.kind == "f"
        gaps.append(gap / largest if is_float else gap)
        steps.append(gaps[-1] * (_FLOAT_STEPS if is_float else 1))
    every, stepped = np.concatenate(gaps), np.concatenate(steps)
    return Agreement(
        name,
        every.size,
        float(every.max()),
        float((every == 0).mean()),
        float((stepped <= 1).mean()),
    )
