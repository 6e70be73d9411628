"""What loops begin with, which the converter writes out value by value."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kbp.export.audit import operation_name
from kbp.export.packing import pack
from kbp.export.parsing import items_of, parse

_LEAST = 256  # values that are worth an operation


def with_short_states(content: bytes) -> bytes:
    """Return a file whose loops begin with values that `FILL` repeats.

    A loop gets zeros for all that it will give, which in a file of many time
    steps are more bytes than the weights.

    Args:
        content: of a .tflite file of floats.
    """
    tree = parse(content)
    changed = [_shorten(tree, graph) for graph in tree.subgraphs]
    if not any(changed):
        return content
    drop_unused(tree)
    return pack(tree)


def _shorten(tree: schema.ModelT, graph: schema.SubGraphT) -> bool:
    operators = [*items_of(graph.operators)]
    loops = [x for x in operators if _name(tree, x) == "WHILE"]
    # Of a file in float16: what makes float32 of a constant.
    wide = {
        int(x.outputs[0]): x
        for x in operators
        if _name(tree, x) == "DEQUANTIZE"
    }
    states = dict.fromkeys(int(i) for loop in loops for i in loop.inputs)
    made = []
    for index in states:
        tensor, source = graph.tensors[index], graph.tensors[index]
        if index in wide:
            source = graph.tensors[wide[index].inputs[0]]
        values = _constant(tree, source)
        if (
            values is None
            or values.size < _LEAST
            or (values != values[0]).any()
        ):
            continue
        shape = np.asarray(tensor.shape, "int32")
        name = tensor.name or b"state"
        inputs = [
            add_constant(tree, graph, name + b"_shape", shape),
            add_constant(tree, graph, name + b"_value", values[0]),
        ]
        tensor.buffer = 0
        if index in wide:
            place = int(wide[index].inputs[0])
            operators = [x for x in operators if x is not wide[index]]
            if not any(place in x.inputs for x in operators):
                source.buffer = 0
        made.append(operator(tree, "FILL", 1, inputs, [index]))
    graph.operators = [*made, *operators]
    return bool(made)


def _constant(tree: schema.ModelT, tensor: schema.TensorT) -> Any:
    """Return the floats of a constant, as float32; `None` of what is none."""
    kinds = schema.TensorType
    kind = {kinds.FLOAT32: "float32", kinds.FLOAT16: "float16"}.get(tensor.type)
    data = tree.buffers[tensor.buffer].data
    if kind is None or data is None:
        return None
    return np.asarray(data, np.uint8).view(kind).astype("float32")


def _name(tree: schema.ModelT, found: schema.OperatorT) -> str:
    return operation_name(tree.operatorCodes[found.opcodeIndex])


def add_constant(
    tree: schema.ModelT,
    graph: schema.SubGraphT,
    name: bytes,
    values: np.ndarray,
) -> int:
    """Add a constant tensor, and return its place.

    Args:
        tree: of the file.
        graph: that gets it.
        name: of the tensor.
        values: float32, int32 or int8.
    """
    array = np.asarray(values)
    tensor, buffer = schema.TensorT(), schema.BufferT()
    tensor.name, tensor.shape = name, [*array.shape]
    tensor.type = getattr(schema.TensorType, array.dtype.name.upper())
    tensor.buffer = len(tree.buffers)
    buffer.data = np.frombuffer(array.tobytes(), np.uint8)
    tree.buffers.append(buffer)
    graph.tensors = [*graph.tensors, tensor]
    return len(graph.tensors) - 1


def operator(
    tree: schema.ModelT,
    name: str,
    version: int,
    inputs: list[int],
    outputs: list[int],
) -> schema.OperatorT:
    """Return an operation, whose code the file has then.

    Args:
        tree: of the file.
        name: of the operation, as LiteRT calls it.
        version: that it must have at least.
        inputs: places of tensors.
        outputs: likewise.
    """
    made, number = schema.OperatorT(), getattr(schema.BuiltinOperator, name)
    made.inputs, made.outputs = inputs, outputs
    for place, known in enumerate(tree.operatorCodes):
        if known.builtinCode == number:
            known.version = max(known.version, version)
            made.opcodeIndex = place
            return made
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = number
    code.version = version
    made.opcodeIndex = len(tree.operatorCodes)
    tree.operatorCodes = [*tree.operatorCodes, code]
    return made


def drop_unused(tree: schema.ModelT) -> None:
    """Empty the buffers that no tensor and no metadata read any more."""
    used = {x.buffer for x in items_of(tree.metadata)}
    for graph in tree.subgraphs:
        used.update(tensor.buffer for tensor in items_of(graph.tensors))
    for index, buffer in enumerate(tree.buffers):
        if index not in used:
            buffer.data = None
