"""Golden outputs: a model's results for a few examples, to compare with."""

import io
from pathlib import Path

import keras
import numpy as np

from kbp._utils.files import write_atomically
from kbp._utils.run_files import GOLDEN
from kbp.data.array_files import read_arrays
from kbp.errors import UserError
from kbp.export import Runner

TOLERANCES = {"keras": 1e-4, "int8": 1.0}  # of logits, and of integer steps
FLOAT_TOLERANCE = 0.01  # of the largest, of int8 files with float outputs
_MOST_VALUES = 300_000  # of the inputs, which keeps the file small


def write(
    folder: Path, model: keras.Model, int8_file: Path, inputs: np.ndarray
) -> Path:
    """Write the outputs of a model and of its int8 file for a few inputs.

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
    np.savez_compressed(
        content, inputs=inputs, keras=outputs["keras"], int8=outputs["int8"]
    )
    return write_atomically(folder / GOLDEN, content.getvalue())


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
    if absent := {"inputs", *TOLERANCES} - golden.keys():
        raise UserError(f"{file}: holds no array {sorted(absent)[0]!r}.")
    found = _outputs(model, int8_file, golden["inputs"])
    for name, tolerance in TOLERANCES.items():
        if name == "int8" and golden[name].dtype.kind == "f":
            tolerance = FLOAT_TOLERANCE * np.abs(golden[name]).max()
        gap = np.abs(found[name].astype("float64") - golden[name]).max()
        if not gap <= tolerance:  # NaN is wrong, too
            raise UserError(
                f"{file}: the {name} model's outputs are {gap:.3g} away; "
                f"at most {tolerance:g} is right."
            )


def _outputs(
    model: keras.Model, int8_file: Path, inputs: np.ndarray
) -> dict[str, np.ndarray]:
    return {
        "keras": keras.ops.convert_to_numpy(model(inputs)),
        "int8": Runner(int8_file).predict_raw(inputs),
    }
