"""Files with uint8 inputs and outputs, which browsers can give and take."""

import copy
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from kbp.export.packing import pack
from kbp.export.parsing import items_of, parse

_SHIFT = 128  # of the zero point: int8 -128 is uint8 0


def with_uint8_interface(content: bytes) -> bytes:
    """Return a .tflite file whose int8 inputs and outputs are uint8.

    LiteRT.js knows float32, int32 and uint8 only. An operation QUANTIZE behind
    each input and before each output shifts the integers by 128, which is
    exact: the scale is the same. A file without int8 ends is returned as it is.

    Args:
        content: of a .tflite file.

    Raises:
        ValueError: the file is damaged.

    Example:
    >>> import keras, tempfile, pathlib, kbp
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "model.tflite"
    ...     _ = kbp.export.to_tflite(model, path)
    ...     content = path.read_bytes()
    >>> with_uint8_interface(content) == content  # its ends are float
    True
    """
    tree = parse(content)
    graph = tree.subgraphs[0]
    inputs = [_uint8(graph, i) for i in items_of(graph.inputs)]
    outputs = [_uint8(graph, i) for i in items_of(graph.outputs)]
    pairs_in = [
        p for p in zip(inputs, graph.inputs, strict=True) if p[0] != p[1]
    ]
    pairs_out = [
        p for p in zip(graph.outputs, outputs, strict=True) if p[0] != p[1]
    ]
    if not pairs_in and not pairs_out:
        return content
    code = _quantize_code(tree)
    graph.operators = [
        *(_shift(code, *pair) for pair in pairs_in),
        *items_of(graph.operators),
        *(_shift(code, *pair) for pair in pairs_out),
    ]
    for signature in items_of(tree.signatureDefs):
        _follow(signature.inputs, graph.inputs, inputs)
        _follow(signature.outputs, graph.outputs, outputs)
    graph.inputs, graph.outputs = inputs, outputs
    return pack(tree)


def _uint8(graph: schema.SubGraphT, index: int) -> int:
    """Return the index of a new uint8 twin of an int8 tensor, or its own."""
    tensor = graph.tensors[index]
    if tensor.type != schema.TensorType.INT8:
        return int(index)
    twin = copy.deepcopy(tensor)
    twin.type, twin.buffer = schema.TensorType.UINT8, 0
    twin.name = (tensor.name or b"") + b"_uint8"
    twin.quantization.zeroPoint = [
        int(zero) + _SHIFT for zero in items_of(tensor.quantization.zeroPoint)
    ]
    graph.tensors.append(twin)
    return len(graph.tensors) - 1


def _quantize_code(tree: schema.ModelT) -> int:
    code = schema.OperatorCodeT()
    code.builtinCode = schema.BuiltinOperator.QUANTIZE
    code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    code.version = 2
    tree.operatorCodes.append(code)
    return len(tree.operatorCodes) - 1


def _shift(code: int, source: int, target: int) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.opcodeIndex = code
    operator.inputs, operator.outputs = [int(source)], [int(target)]
    return operator


def _follow(ends: Any, before: Any, after: list[int]) -> None:
    """Point a signature's ends to the new tensors."""
    places = dict(zip(map(int, before), after, strict=True))
    for end in items_of(ends):
        end.tensorIndex = places.get(end.tensorIndex, end.tensorIndex)
