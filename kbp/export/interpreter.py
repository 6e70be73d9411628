"""An interpreter that runs .tflite files with LiteRT."""

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType


class Runner:
    """Runs a .tflite file on batches.

    Args:
        path: path of the file, which has one input and one output.
        num_threads: number of threads of XNNPACK.
        reference: whether LiteRT's reference kernels run instead of XNNPACK,
            which is slow.

    Attributes:
        interpreter: LiteRT's interpreter.
        input: LiteRT's details of the input, e.g. `shape` and `dtype`.
        output: LiteRT's details of the output.
        output_scale: size of one integer step of the output, 0 for float.
        output_zero: the integer that stands for an output of zero.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: LiteRT does not run the file, or it has several inputs or
            outputs.

    Example:
    >>> import keras, numpy as np, tempfile, kbp
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/model.tflite"
    ...     _ = kbp.export.to_tflite(model, path)
    ...     runner = kbp.export.Runner(path)
    >>> runner.predict(np.ones((5, 2), "float32")).shape
    (5, 3)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        num_threads: int = 1,
        reference: bool = False,
    ):
        self.interpreter = allocate(read_tflite(path), num_threads, reference)
        inputs = self.interpreter.get_input_details()
        outputs = self.interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValueError(
                f"{path}: has {len(inputs)} inputs and {len(outputs)} outputs; "
                "kbp runs files of one each."
            )
        (self.input,), (self.output,) = inputs, outputs
        self.output_scale, self.output_zero = self.output["quantization"]

    def quantize_input(self, inputs: np.ndarray) -> np.ndarray:
        """Return a float batch in the type of the file's input."""
        return _quantize(inputs, self.input)

    def run(self, inputs: np.ndarray) -> np.ndarray:
        """Run a batch of the file's batch size, in the file's types."""
        self.interpreter.set_tensor(self.input["index"], inputs)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output["index"])

    def predict_raw(self, inputs: np.ndarray) -> np.ndarray:
        """Return outputs of a float batch of any size, in the file's type."""
        size = self.input["shape"][0]
        empty = np.empty((0, *self.output["shape"][1:]), self.output["dtype"])
        outputs = [empty]
        for start in range(0, len(inputs), size):  # bounds the memory
            part = self.quantize_input(np.asarray(inputs[start : start + size]))
            full = np.concatenate(
                [part, np.repeat(part[-1:], size - len(part), axis=0)]
            )
            outputs.append(self.run(full).copy())
        return np.concatenate(outputs)[: len(inputs)]

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Return the float outputs of a float batch of any size."""
        return self.dequantize_output(self.predict_raw(inputs))

    def dequantize_output(self, outputs: np.ndarray) -> np.ndarray:
        """Convert outputs of the file's type to floats."""
        if not self.output_scale:
            return outputs
        steps = outputs.astype(np.float32) - self.output_zero
        return steps * np.float32(self.output_scale)

    def quantize_output(self, outputs: np.ndarray) -> np.ndarray:
        """Convert float outputs to the file's type."""
        return _quantize(outputs, self.output)


def read_tflite(path: str | Path) -> bytes:
    """Return the content of a .tflite file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no .tflite file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise ValueError(f"{path}: not a .tflite file.")
    return content


def allocate(
    content: bytes, num_threads: int = 1, reference: bool = False
) -> Interpreter:
    """Return an interpreter that is ready to run.

    Args:
        content: content of a .tflite file.
        num_threads: number of threads of XNNPACK.
        reference: whether LiteRT's reference kernels run instead of XNNPACK.

    Raises:
        ValueError: LiteRT does not run the file.
    """
    kernels = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    try:
        interpreter = Interpreter(
            model_content=content,
            num_threads=num_threads,
            experimental_op_resolver_type=kernels,
        )
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"LiteRT does not run this file: {reason}") from error
    return interpreter


def _quantize(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    dtype, (scale, zero) = details["dtype"], details["quantization"]
    if not scale:
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    steps = np.round(values / np.float32(scale)) + zero
    return np.clip(steps, limits.min, limits.max).astype(dtype)
