"""Reading the tables of a .tflite file, which may be from anybody."""

import math
from collections.abc import Iterable
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from kbp._utils.machine import memory
from kbp._utils.process.stderr import suppress_stderr

_NO_TABLES = "not a valid Flatbuffer"
# Bits of a value, where they are not eight.
_BITS = {
    "FLOAT64": 64,
    "INT64": 64,
    "UINT64": 64,
    "COMPLEX64": 64,
    "COMPLEX128": 128,
    "FLOAT32": 32,
    "INT32": 32,
    "UINT32": 32,
    "FLOAT16": 16,
    "BFLOAT16": 16,
    "INT16": 16,
    "UINT16": 16,
    "INT4": 4,
    "UINT4": 4,
    "INT2": 2,
}
_TYPES = {v: k for k, v in vars(schema.TensorType).items()}


def parse(content: bytes, name: str = "The .tflite file") -> schema.ModelT:
    """Return the tables of a .tflite file, checked.

    LiteRT verifies that tables lie in the file, before anything follows their
    places. It believes numbers that it should not, so those are checked here:
    indices of tensors, buffers and operations, shapes, and the memory that
    they ask for.

    Args:
        content: of the file.
        name: of the file, for messages.

    Raises:
        ValueError: the file is damaged, or asks for more than half of the
            memory.
    """
    try:
        with suppress_stderr():
            Interpreter(model_content=content)
    except (RuntimeError, ValueError) as error:
        if _NO_TABLES in str(error):
            raise ValueError(f"{name} is damaged: {error}") from error
        # What LiteRT has no kernel for may still be looked at.
    try:
        tree = schema.ModelT.InitFromPackedBuf(content, 0)
        _check(tree)
    except _DamagedError as error:
        raise ValueError(f"{name} is damaged: {error}") from error
    except Exception as error:  # a damaged table may raise any
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name} is damaged: {reason}") from error
    return tree


class _DamagedError(Exception):
    """Says what is wrong with a table."""


def _check(tree: schema.ModelT) -> None:
    codes, graphs = tree.operatorCodes, tree.subgraphs
    if not graphs:
        raise _DamagedError("it has no graph")
    for code in codes or ():
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        if number not in vars(schema.BuiltinOperator).values():
            raise _DamagedError(f"it has an operation of unknown code {number}")
        if number == schema.BuiltinOperator.CUSTOM and not code.customCode:
            raise _DamagedError("it has an operation without a name")
    for graph in graphs:
        tensors = graph.tensors if graph.tensors is not None else ()
        _check_indices("tensor", [graph.inputs, graph.outputs], len(tensors))
        for operator in items_of(graph.operators):
            _check_indices("code", [[operator.opcodeIndex]], len(codes or ()))
            _check_indices(
                "tensor", [operator.inputs, operator.outputs], len(tensors), -1
            )
        for tensor in tensors:
            _check_tensor(tensor, tree.buffers or ())
    total = size_of(tree)
    if total > memory() // 2:
        raise _DamagedError(
            f"its tensors have {total:,} bytes; at most {memory() // 2:,} are "
            "reserved"
        )


def _check_indices(
    kind: str, lists: Iterable[Any], count: int, least: int = 0
) -> None:
    for indices in lists:
        for i in items_of(indices):
            if not least <= i < count:
                raise _DamagedError(f"it uses {kind} {i} of {count}")


def _check_tensor(tensor: Any, buffers: Any) -> None:
    name = (tensor.name or b"").decode()
    known = [k for k, v in vars(schema.TensorType).items() if v == tensor.type]
    if not known:
        raise _DamagedError(f"tensor {name!r} is of unknown type {tensor.type}")
    _check_indices("buffer", [[tensor.buffer]], len(buffers))
    shape = [int(size) for size in items_of(tensor.shape)]
    if min(shape, default=0) < 0:
        raise _DamagedError(f"tensor {name!r} has the shape {shape}")
    quantization = tensor.quantization
    scales = [] if quantization is None else items_of(quantization.scale)
    if len(scales) > 1:
        axis = quantization.quantizedDimension
        if not 0 <= axis < len(shape) or shape[axis] != len(scales):
            raise _DamagedError(
                f"tensor {name!r} of shape {shape} has {len(scales)} scales"
            )


def size_of(tree: schema.ModelT) -> int:
    """Return the bytes of all tensors, as their shapes say.

    Args:
        tree: of `parse`.
    """
    return sum(
        bytes_of(tensor)
        for graph in tree.subgraphs
        for tensor in items_of(graph.tensors)
    )


def bytes_of(tensor: schema.TensorT) -> int:
    """Return the bytes of a tensor's values, as its shape says.

    Args:
        tensor: of the tables of `parse`.
    """
    values = math.prod(map(int, items_of(tensor.shape)))
    return -(-values * _BITS.get(_TYPES.get(tensor.type, ""), 8) // 8)


def items_of(values: Any) -> Any:
    """Return a vector, empty where there is none.

    Args:
        values: of a table.
    """
    return () if values is None else values
