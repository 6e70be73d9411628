"""Files that hold weights in eight bits, and compute in float."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kbp.export.audit import operation_name
from kbp.export.loop_states import add_constant, drop_unused, operator
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
    drop_unused(tree)
    return pack(tree)


def _round(tree: schema.ModelT, graph: schema.SubGraphT) -> None:
    """Put integers and `DEQUANTIZE` in the places of a graph's kernels."""
    axes: dict[int, int | None] = {}
    for found in items_of(graph.operators):
        name = operation_name(tree.operatorCodes[found.opcodeIndex])
        place, axis = _KERNELS.get(name, (-1, None))
        if place < 0 or len(found.inputs) <= place:
            continue
        index = int(found.inputs[place])
        if index >= 0 and _is_kernel(tree, graph.tensors[index]):
            same = axes.setdefault(index, axis) == axis
            axes[index] = axis if same else None
    made = []
    for index, axis in axes.items():
        floats = graph.tensors[index]
        data = np.asarray(tree.buffers[floats.buffer].data, np.uint8)
        shape = tuple(map(int, floats.shape))
        steps, scale = rounded(data.view("float32").reshape(shape), axis)
        place = add_constant(tree, graph, floats.name + b"_int8", steps)
        held = schema.QuantizationParametersT()
        held.scale, held.zeroPoint = scale, np.zeros(len(scale), "int64")
        held.quantizedDimension = axis or 0
        graph.tensors[place].quantization = held
        floats.buffer = 0
        made.append(operator(tree, "DEQUANTIZE", _VERSION, [place], [index]))
    graph.operators = [*made, *items_of(graph.operators)]


def _is_kernel(tree: schema.ModelT, tensor: schema.TensorT) -> bool:
    """Say whether a tensor is a constant matrix of floats, or more."""
    constant = tree.buffers[tensor.buffer].data is not None
    floats = tensor.type == schema.TensorType.FLOAT32
    return constant and floats and len(items_of(tensor.shape)) > 1
