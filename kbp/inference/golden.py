"""Golden outputs: a model's results for a few examples, to compare with."""

import io
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kbp._utils.files import write_atomically
from kbp._utils.run_files import GOLDEN
from kbp.data.array_files import read_arrays
from kbp.data.lazy import Array
from kbp.errors import UserError
from kbp.export import Runner

TOLERANCES = {"keras": 1e-4, "int8": 1.0}  # of logits, and of integer steps
FLOAT_TOLERANCE = 0.01  # of the largest, of int8 files with float outputs
_MOST_VALUES = 300_000  # of the inputs, which keeps the file small


def write(
    folder: Path, model: keras.Model, int8_file: Path, inputs: Array
) -> Path:
    """Write the outputs of a model and of its int8 file for a few inputs.

    The arrays are `inputs`, `keras` and `int8`; of several outputs, one for
    each, such as `keras.digit` by its name or `keras.0` by its place.

    Args:
        folder: folder that `golden.npz` is written to.
        model: a Keras model.
        int8_file: path of its 8-bit .tflite file.
        inputs: examples, of which the first few are taken.

    Returns:
        The path of `golden.npz`.
    """
    count = max(1, min(4, _MOST_VALUES // inputs[0].size))
    content = io.BytesIO()
    inputs = inputs[:count]
    outputs = _outputs(model, int8_file, inputs)
    arrays: dict[str, Any] = {"inputs": inputs, **outputs}
    np.savez_compressed(content, **arrays)
    return write_atomically(folder / GOLDEN, content.getvalue())


def inputs_for(file: Path, count: int = 4) -> list[np.ndarray]:
    """Return examples for each input of a .tflite file.

    They are the golden ones where those lie beside it, else noise in the range
    of the input; of integers without a range, zeros.

    Args:
        file: its path.
        count: of examples of noise.

    Raises:
        ValueError: LiteRT does not run the file.
    """
    runner, golden = Runner(file), file.parent / GOLDEN
    if golden.is_file():
        found = read_arrays(golden).get("inputs", np.empty(0))
        if [found.shape[1:]] == [*runner.shapes.values()]:
            return [found.astype("float32")]
    rng = np.random.default_rng(0)
    return [_noise(rng, count, details) for details in runner.inputs]


def _noise(
    rng: np.random.Generator, count: int, details: dict[str, Any]
) -> np.ndarray:
    dtype, (scale, zero) = np.dtype(details["dtype"]), details["quantization"]
    shape = (count, *details["shape"][1:])
    if not scale and dtype.kind != "f":
        return np.zeros(shape, dtype)
    noise = rng.random(shape, "float32")
    if not scale:
        return noise
    limits = np.iinfo(dtype)
    low, high = (scale * (x - zero) for x in (limits.min, limits.max))
    return (low + noise * (high - low)).astype("float32")


def check(file: Path, model: keras.Model, int8_file: Path) -> None:
    """Check that models still give the outputs of a golden file.

    Args:
        file: path of `golden.npz`.
        model: the Keras model.
        int8_file: path of its 8-bit .tflite file.

    Raises:
        UserError: an output differs by more than its tolerance.
    """
    golden = read_arrays(file)
    if "inputs" not in golden:
        raise UserError(f"{file}: holds no array 'inputs'.")
    found = _outputs(model, int8_file, golden["inputs"])
    if absent := found.keys() - golden.keys():
        raise UserError(f"{file}: holds no array {sorted(absent)[0]!r}.")
    for name, output in found.items():
        kind, _, one = name.partition(".")
        right, tolerance = golden[name], TOLERANCES[kind]
        which = f" of output {one!r}" if one else ""
        if output.shape != right.shape:
            raise UserError(
                f"{file}: the {kind} model's outputs{which} have the shape "
                f"{output.shape}; {right.shape} is right."
            )
        if kind == "int8" and right.dtype.kind == "f":
            tolerance = FLOAT_TOLERANCE * np.abs(right).max()
        gap = np.abs(output.astype("float64") - right).max()
        if not gap <= tolerance:  # NaN is wrong, too
            raise UserError(
                f"{file}: the {kind} model's outputs{which} are {gap:.3g} "
                f"away; at most {tolerance:g} is right."
            )


def _outputs(
    model: keras.Model, int8_file: Path, inputs: np.ndarray
) -> dict[str, np.ndarray]:
    """Return all outputs by what made them, and their names if several."""
    made = model(inputs)
    names = [*map(str, range(len(keras.tree.flatten(made))))]
    if isinstance(made, dict) and len(made) == len(names):
        names = sorted(made)  # as they are flattened
    found = {}
    for kind, outputs in (
        ("keras", made),
        ("int8", Runner(int8_file).predict_raw(inputs)),
    ):
        several = keras.tree.flatten(outputs)
        for name, output in zip(names, several, strict=True):
            key = f"{kind}.{name}" if len(names) > 1 else kind
            found[key] = keras.ops.convert_to_numpy(output)
    return found
