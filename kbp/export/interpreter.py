"""An interpreter that runs .tflite files with LiteRT."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from kbp._utils.examples import batches
from kbp._utils.process.stderr import suppress_stderr
from kbp.errors import UserError
from kbp.export.parsing import items_of, parse, size_of
from kbp.export.trial import try_out


class Runner:
    """Runs a .tflite file on batches.

    A file that this process has not made runs once in another process first,
    which takes a fifth of a second, because LiteRT may crash on damaged ones.

    Args:
        path: path of the file, or its content.
        num_threads: number of threads of XNNPACK.
        reference: whether LiteRT's reference kernels run instead of XNNPACK,
            which is slow.

    Attributes:
        interpreter: LiteRT's interpreter.
        inputs: LiteRT's details of the inputs, e.g. `shape` and `dtype`, in the
            order of the Keras model's.
        outputs: LiteRT's details of the outputs.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: LiteRT does not run the file, or crashes.

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
        path: str | Path | bytes,
        *,
        num_threads: int = 1,
        reference: bool = False,
    ):
        if isinstance(path, bytes):
            content, name = path, "A file in memory"
        else:
            content, name = read_tflite(path), str(path)
        tree = parse(content, f"{name}: the .tflite file")
        # Floats that are rounded inside the file, where NaN becomes a number.
        self._rounds = any(
            code.builtinCode == schema.BuiltinOperator.QUANTIZE
            for code in items_of(tree.operatorCodes)
        )
        size = size_of(tree)
        try_out(content, name, size=size, reference=reference)
        self.interpreter = allocate(content, num_threads, reference)
        self.inputs = self.interpreter.get_input_details()
        self.outputs = self.interpreter.get_output_details()
        shapes = [x["shape"] for x in (*self.inputs, *self.outputs)]
        if not (self.inputs and self.outputs) or any(
            len(shape) < 1 or min(shape) < 1 for shape in shapes
        ):
            raise ValueError(
                f"{name}: must have inputs and outputs with a batch axis; has "
                f"shapes {[shape.tolist() for shape in shapes]}"
            )

    @property
    def batch_size(self) -> int:
        """Examples in one call of the file."""
        return int(self.inputs[0]["shape"][0])

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the inputs without their batch axis, by their names."""
        return {_name(x): _shape(x) for x in self.inputs}

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the outputs without their batch axis."""
        return tuple(map(_shape, self.outputs))

    def quantize_inputs(
        self, inputs: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        """Return a batch of each input in the types of the file."""
        pairs = [*zip(inputs, self.inputs, strict=True)]
        for x, details in pairs:
            _check_input(np.asarray(x), details, self._rounds)
        return tuple(quantize(x, details) for x, details in pairs)

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run a batch of the file's batch size, in the file's types."""
        for x, details in zip(inputs, self.inputs, strict=True):
            self.interpreter.set_tensor(details["index"], x)
        try:
            self.interpreter.invoke()
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            if "index out of bounds" in reason:
                raise UserError(
                    "Inputs hold an index for which the file's table has no "
                    f"row. LiteRT says: {reason}"
                ) from error
            raise UserError(f"LiteRT stopped in this file: {reason}") from error
        return [self.interpreter.get_tensor(x["index"]) for x in self.outputs]

    def predict_raw(self, data: Any) -> Any:
        """Return the outputs of examples, in the file's types.

        Args:
            data: see `predict`.

        Returns:
            An array, or of several outputs a tuple.
        """
        found: list[list[np.ndarray]] = [
            [np.empty((0, *x["shape"][1:]), x["dtype"])] for x in self.outputs
        ]
        for batch in batches(data, self.shapes, "Inputs"):
            rest = len(batch)
            for call in self._calls(batch.inputs):
                for outputs, output in zip(found, self.run(call), strict=True):
                    outputs.append(output[:rest].copy())
                rest -= self.batch_size
        whole = tuple(np.concatenate(outputs) for outputs in found)
        return whole if len(whole) > 1 else whole[0]

    def calls(self, data: Any) -> Iterator[list[np.ndarray]]:
        """Yield the inputs of each call of the file, in its types.

        A batch's last example stands again for those that a call lacks.

        Args:
            data: see `predict`.
        """
        for batch in batches(data, self.shapes, "Inputs"):
            yield from self._calls(batch.inputs)

    def _calls(
        self, inputs: Sequence[np.ndarray]
    ) -> Iterator[list[np.ndarray]]:
        size = self.batch_size
        for start in range(0, len(inputs[0]), size):
            part = self.quantize_inputs(
                [x[start : start + size] for x in inputs]
            )
            lacking = size - len(part[0])
            yield [
                np.concatenate([x, np.repeat(x[-1:], lacking, axis=0)])
                for x in part
            ]

    def predict(self, data: Any) -> Any:
        """Return the float outputs of examples.

        Args:
            data: examples in any form that Keras's `predict` takes: an array;
                for several inputs a list, or a dictionary by their names; a
                data set or a generator of batches.

        Returns:
            An array, or of several outputs a tuple.

        Raises:
            ValueError: the data have another shape than the file's inputs,
                hold NaN where the file computes in integers, or numbers that
                an input of integers cannot hold.
        """
        found = self.predict_raw(data)
        if len(self.outputs) == 1:
            return dequantize(found, self.outputs[0])
        pairs = zip(found, self.outputs, strict=True)
        return tuple(dequantize(x, details) for x, details in pairs)


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
        with suppress_stderr("INFO: "):
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


def quantize(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Convert floats to the type of an input or output.

    Args:
        values: of any shape.
        details: LiteRT's, of the input or output.

    Raises:
        ValueError: a value is NaN, which is no integer.
    """
    dtype, (scale, zero) = details["dtype"], details["quantization"]
    values = np.asarray(values)
    if not scale:
        return values.astype(dtype)
    if np.isnan(values).any():
        raise ValueError(f"Values of {_name(details)} are NaN.")
    limits = np.iinfo(dtype)
    steps = np.round(values / np.float32(scale)) + zero
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def _check_input(
    values: np.ndarray, details: dict[str, Any], rounds: bool
) -> None:
    """Raise a ValueError for values that an input's type would change."""
    dtype, (scale, _) = np.dtype(details["dtype"]), details["quantization"]
    if scale or not values.size or values.dtype == dtype != np.float32:
        return
    if dtype.kind == "f" and rounds and np.isnan(values).any():
        raise ValueError(f"Values of {_name(details)} are NaN.")
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        whole = values.dtype.kind != "f" or (np.floor(values) == values).all()
        fits = limits.min <= values.min() and values.max() <= limits.max
        if not (whole and fits):
            raise ValueError(
                f"Values of {_name(details)} must be whole numbers from "
                f"{limits.min} to {limits.max}. Received: numbers from "
                f"{values.min()} to {values.max()}"
                f"{'' if whole else ', not all of them whole'}"
            )


def dequantize(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Convert values of an input's or output's type to floats."""
    scale, zero = details["quantization"]
    if not scale:
        return values
    return (values.astype(np.float32) - zero) * np.float32(scale)


def _name(details: dict[str, Any]) -> str:
    """Return the name that an input has in Keras.

    In an integer file LiteRT's name is that of what rounds the input, such as
    `model_1/image_quant_1/AllValuesQuantize/...`.
    """
    name = str(details["name"])
    rounded = re.search(r"(?:^|/)([^/]+?)_quant(?:_\d+)*/", name)
    return rounded[1] if rounded else name.partition(":")[0]


def _shape(details: dict[str, Any]) -> tuple[int, ...]:
    return tuple(map(int, details["shape"][1:]))
