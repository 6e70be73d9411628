"""An audit of a .tflite file: its operations, their types, its size."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kbp.export.interpreter import read_tflite
from kbp.export.parsing import items_of, parse

CONVERSIONS = ("DEQUANTIZE", "QUANTIZE")
_FLOATS = ("FLOAT16", "FLOAT32", "FLOAT64", "BFLOAT16")
_NUMPY = {
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "INT64": np.int64,
}


@dataclass(frozen=True)
class Operation:
    """One operation of a .tflite file.

    Attributes:
        name: LiteRT's name of the operation, e.g. `"CONV_2D"`.
        inputs: types of the inputs, e.g. `("INT8", "INT8", "INT32")`.
        outputs: types of the outputs.
        layer: name of the Keras layer that the operation came from, as far as
            the name of its output shows it.

    Example:
    >>> import kbp
    >>> types = ("FLOAT32",)
    >>> kbp.export.Operation("SOFTMAX", types, types, "head").is_float
    True
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layer: str

    @property
    def is_float(self) -> bool:
        """Whether an input or an output is float."""
        return any(t in _FLOATS for t in (*self.inputs, *self.outputs))


@dataclass(frozen=True)
class Audit:
    """The content of a .tflite file.

    Attributes:
        operations: the operations, in order of execution.
        parameters: number of weights and biases.
        nonzero: number of weights and biases that are not zero.
        size: size of the file, in bytes.

    Example:
    >>> import kbp
    >>> audit = kbp.export.Audit((), parameters=4, nonzero=3, size=1024)
    >>> audit.float_operations
    ()
    """

    operations: tuple[Operation, ...]
    parameters: int
    nonzero: int
    size: int

    @property
    def float_operations(self) -> tuple[Operation, ...]:
        """The operations with a float input or output."""
        return tuple(op for op in self.operations if op.is_float)


def audit(
    model: str | Path | bytes, *, allow_float: Sequence[str] | None = None
) -> Audit:
    """List the operations of a .tflite file with their types.

    Args:
        model: path of the file, or its content.
        allow_float: names of operations (`"SOFTMAX"`) or of Keras layers that
            may be float; any other float operation is then an error. `None`
            allows all.

    Returns:
        The operations, parameters and size.

    Raises:
        ValueError: the file is no .tflite file, or a float operation is not
            allowed; the message names the operation and its layer.
        FileNotFoundError: the file does not exist.

    Example:
    >>> import keras, tempfile, kbp
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/model.tflite"
    ...     _ = kbp.export.to_tflite(model, path)
    ...     audit = kbp.export.audit(path)
    >>> [operation.name for operation in audit.operations]
    ['FULLY_CONNECTED']
    >>> kbp.export.audit(b"no file")
    Traceback (most recent call last):
        ...
    ValueError: The .tflite file is damaged: ...
    """
    if isinstance(allow_float, str):
        raise ValueError(
            "Argument `allow_float` must be a list of names. "
            f"Received: allow_float={allow_float!r}"
        )
    if isinstance(model, bytes):
        content = model
        tree = parse(content)
    else:
        content = read_tflite(model)
        tree = parse(content, f"{model}: the .tflite file")
    codes = [operation_name(code) for code in tree.operatorCodes or ()]
    operations: list[Operation] = []
    parameters = nonzero = 0
    for graph in tree.subgraphs:
        operations += [
            _operation(codes[op.opcodeIndex], op, graph.tensors)
            for op in graph.operators or ()
        ]
        for tensor in graph.tensors or ():
            values = weights(tensor, tree.buffers)
            parameters += values.size
            nonzero += int(np.count_nonzero(values))
    result = Audit(tuple(operations), parameters, nonzero, len(content))
    if allow_float is not None:
        _require_integers(result, allow_float)
    return result


def _require_integers(result: Audit, allowed: Sequence[str]) -> None:
    # Conversions are needed at float operations only, which must be allowed.
    names = {*allowed, *(CONVERSIONS if allowed else ())}
    found = [
        op for op in result.float_operations if not names & {op.name, op.layer}
    ]
    if found:
        listed = "; ".join(f"{op.name} at {op.layer}" for op in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise ValueError(
            f"{len(found)} operations are float by accident: {listed}{more}. "
            "Name those that may be float in `allow_float`."
        )


def _operation(
    name: str, operator: schema.OperatorT, tensors: Sequence[schema.TensorT]
) -> Operation:
    def types(indices: Sequence[int] | None) -> tuple[str, ...]:
        return tuple(
            _type_name(tensors[i].type) for i in items_of(indices) if i != -1
        )

    return Operation(
        name,
        types(operator.inputs),
        types(operator.outputs),
        layer_of(operator, tensors),
    )


def layer_of(
    operator: schema.OperatorT, tensors: Sequence[schema.TensorT]
) -> str:
    """Return the layer of an operation, as far as names of tensors show it.

    They are like `model_1/layer_1/op;model_1/...`; where LiteRT fused several
    operations, the layer is the first that is no quantizer.
    The model's output may have a name without scopes; then the names of the
    inputs tell, from the last (weights) on.
    """
    inputs = list(items_of(operator.inputs))
    named = [*items_of(operator.outputs), *reversed(inputs)]
    known = [
        (tensors[i].name or b"").decode(errors="replace")
        for i in named
        if i != -1
    ] or [""]
    tensor = next((name for name in known if "/" in name), known[0])
    layers = [layer_in(part) for part in tensor.split(";")]
    names = [name for name in layers if not name.endswith("_quant")]
    return (names or layers)[0]


def layer_in(name: str) -> str:
    """Return the layer in a name like `model_1/layer_1/op`.

    Keras ends the name of each scope with a number.

    Args:
        name: of a tensor or operation of TensorFlow's.
    """
    scope = name.split("/")
    if len(scope) == 1:
        return name  # of an input or an output, by its own name
    return re.sub(r"_\d+$", "", scope[1])


def operation_name(code: schema.OperatorCodeT) -> str:
    """Return LiteRT's name of an operation."""
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    if number == schema.BuiltinOperator.CUSTOM:
        return str(code.customCode.decode(errors="replace"))
    return _name_of(schema.BuiltinOperator, number)


def _type_name(number: int) -> str:
    return _name_of(schema.TensorType, number)


def _name_of(enumeration: type, number: int) -> str:
    return next(k for k, v in vars(enumeration).items() if v == number)


def weights(
    tensor: schema.TensorT, buffers: Sequence[schema.BufferT]
) -> np.ndarray:
    """Return a tensor's constant weights, empty if it holds none.

    Shapes and axes are constants too, but they are integers without a scale.
    """
    data = buffers[tensor.buffer].data
    name = _type_name(tensor.type)
    quantization = tensor.quantization
    scaled = quantization is not None and quantization.scale is not None
    if data is None or name not in _NUMPY or not (scaled or name in _FLOATS):
        return np.empty(0)
    content = np.asarray(data, np.uint8)
    size = np.dtype(_NUMPY[name]).itemsize
    return content[: len(content) // size * size].view(_NUMPY[name])
