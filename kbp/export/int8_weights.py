"""Files that hold weights in eight bits, and compute in float."""

from collections import Counter

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kbp.export.audit import operation_name
from kbp.export.packing import pack
from kbp.export.parsing import items_of, parse

_LARGEST = 127
_VERSION = 5  # of `DEQUANTIZE`, the first with a scale for each channel
# The input that is an operation's kernel, and the axis of its outputs.
_KERNELS: dict[str, tuple[int, int | None]] = {
    "FULLY_CONNECTED": (1, 0),
    "CONV_2D": (1, 0),
    "DEPTHWISE_CONV_2D": (1, 3),
    "TRANSPOSE_CONV": (1, 0),
    "CONV_3D": (1, 4),
    "CONV_3D_TRANSPOSE": (1, 3),
    "BATCH_MATMUL": (1, None),
    "GATHER": (0, None),
    "EMBEDDING_LOOKUP": (1, None),
}


def rounded(
    kernel: np.ndarray, axis: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a kernel in eight bits: `kernel` is about `scale * integers`.

    Args:
        kernel: of floats.
        axis: whose places have a scale each; `None` for one of all.

    Returns:
        Integers of -127 to 127, int8, and scales `(places,)`, float32, of which
        127 are the largest absolute value.
    """
    others = tuple(i for i in range(kernel.ndim) if i != axis)
    largest = np.abs(kernel).max(axis=others, keepdims=True)
    scale = (largest / np.float32(_LARGEST)).astype("float32")
    scale = np.where(scale > 0, scale, np.float32(1))
    steps = np.rint(kernel / scale).clip(-_LARGEST, _LARGEST)
    return steps.astype("int8"), scale.ravel()


def with_int8_weights(content: bytes) -> bytes:
    """Return a file of floats with its kernels in eight bits.

    `DEQUANTIZE` makes floats of them when the file is loaded, so all that is
    computed stays in float.

    Args:
        content: of a .tflite file of floats.
    """
    tree = parse(content)
    for graph in tree.subgraphs:
        _round(tree, graph)
    used = Counter(
        x.buffer for g in tree.subgraphs for x in items_of(g.tensors)
    )
    for index, buffer in enumerate(tree.buffers):
        if index and not used[index] and not _is_metadata(tree, index):
            buffer.data = None  # the floats, which nothing reads any more
    return pack(tree)


def _round(tree: schema.ModelT, graph: schema.SubGraphT) -> None:
    """Put integers and `DEQUANTIZE` in the places of a graph's kernels."""
    axes: dict[int, int | None] = {}
    for operator in items_of(graph.operators):
        name = operation_name(tree.operatorCodes[operator.opcodeIndex])
        place, axis = _KERNELS.get(name, (-1, None))
        if place < 0 or len(operator.inputs) <= place:
            continue
        tensor = int(operator.inputs[place])
        if tensor >= 0 and _is_kernel(tree, graph.tensors[tensor]):
            same = axes.setdefault(tensor, axis) == axis
            axes[tensor] = axis if same else None
    made = []
    for tensor, axis in axes.items():
        floats = graph.tensors[tensor]
        shape = tuple(map(int, floats.shape))
        data = np.asarray(tree.buffers[floats.buffer].data, np.uint8)
        steps, scale = rounded(data.view("float32").reshape(shape), axis)
        held = schema.TensorT()
        held.name, held.shape = floats.name + b"_int8", [*shape]
        held.type = schema.TensorType.INT8
        held.buffer = len(tree.buffers)
        held.quantization = schema.QuantizationParametersT()
        held.quantization.scale = scale
        held.quantization.zeroPoint = np.zeros(len(scale), "int64")
        held.quantization.quantizedDimension = axis or 0
        buffer = schema.BufferT()
        buffer.data = steps.ravel().view("uint8")
        tree.buffers.append(buffer)
        floats.buffer = 0
        graph.tensors = [*graph.tensors, held]
        convert = schema.OperatorT()
        convert.opcodeIndex = _code(tree)
        convert.inputs, convert.outputs = [len(graph.tensors) - 1], [tensor]
        made.append(convert)
    graph.operators = [*made, *items_of(graph.operators)]


def _is_kernel(tree: schema.ModelT, tensor: schema.TensorT) -> bool:
    """Say whether a tensor is a constant matrix of floats, or more."""
    constant = tree.buffers[tensor.buffer].data is not None
    floats = tensor.type == schema.TensorType.FLOAT32
    return constant and floats and len(items_of(tensor.shape)) > 1


def _is_metadata(tree: schema.ModelT, index: int) -> bool:
    return any(x.buffer == index for x in items_of(tree.metadata))


def _code(tree: schema.ModelT) -> int:
    """Return the place of `DEQUANTIZE` among the codes, which may be new."""
    number = schema.BuiltinOperator.DEQUANTIZE
    for place, known in enumerate(tree.operatorCodes):
        if known.builtinCode == number:
            known.version = max(known.version, _VERSION)
            return place
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = number
    code.version = _VERSION
    tree.operatorCodes = [*tree.operatorCodes, code]
    return len(tree.operatorCodes) - 1
