"""The types of a .tflite file's inputs and outputs."""

import copy
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kbp.export.parsing import items_of, parse

_SHIFT = 128  # from int8 to uint8


def with_uint8_interface(content: bytes) -> bytes:
    """Return a file whose int8 inputs and outputs are uint8.

    Each integer and zero point is 128 more, so the values are the same. Some
    runtimes, such as LiteRT.js, have no int8.

    Args:
        content: of a .tflite file.

    Raises:
        ValueError: the file is damaged.

    Example:
    >>> import kbp
    >>> from kbp.export.interface import with_uint8_interface
    >>> content = kbp.zoo.file("pyramid_bpnet_small.digits").read_bytes()
    >>> len(with_uint8_interface(content)) > 0
    True
    """
    tree = parse(content)
    (graph, *_) = tree.subgraphs
    added = False
    graph.inputs, graph.outputs = map(list, (graph.inputs, graph.outputs))
    for ends, is_input in ((graph.inputs, True), (graph.outputs, False)):
        for place, index in enumerate(map(int, ends)):
            if graph.tensors[index].type == schema.TensorType.INT8:
                outer = _add_outer(tree, graph, index, is_input)
                _rename(tree, index, outer, is_input)
                ends[place], added = outer, True
    if not added:
        return content
    builder = flatbuffers.Builder(len(content) + 4096)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _add_outer(tree: Any, graph: Any, index: int, is_input: bool) -> int:
    """Add a uint8 tensor and the conversion from or to the int8 one."""
    inner = graph.tensors[index]
    outer = copy.copy(inner)
    outer.type = schema.TensorType.UINT8
    outer.name = inner.name + b"_uint8"
    outer.quantization = copy.copy(inner.quantization)
    zero = np.asarray(inner.quantization.zeroPoint)
    outer.quantization.zeroPoint = zero + _SHIFT
    tree.buffers.append(schema.BufferT())
    outer.buffer = len(tree.buffers) - 1
    graph.tensors.append(outer)
    number = len(graph.tensors) - 1
    operator = schema.OperatorT()
    operator.opcodeIndex = _code(tree)
    taken, given = (number, index) if is_input else (index, number)
    operator.inputs, operator.outputs = [taken], [given]
    graph.operators.insert(0 if is_input else len(graph.operators), operator)
    return number


def _code(tree: Any) -> int:
    """Return the index of the operation QUANTIZE, added if it is not there."""
    quantize = schema.BuiltinOperator.QUANTIZE
    for index, code in enumerate(tree.operatorCodes):
        if code.builtinCode == quantize:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = quantize
    code.version = 2  # which takes integers
    tree.operatorCodes.append(code)
    return len(tree.operatorCodes) - 1


def _rename(tree: Any, old: int, new: int, is_input: bool) -> None:
    """Let the signatures name the new tensor."""
    for signature in items_of(tree.signatureDefs):
        maps = signature.inputs if is_input else signature.outputs
        for named in items_of(maps):
            if named.tensorIndex == old:
                named.tensorIndex = new
