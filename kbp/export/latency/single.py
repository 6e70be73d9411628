"""Files of one operation of a .tflite file, with other numbers of channels."""

import copy
import hashlib
import math
from collections.abc import Iterator
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kbp.export.audit import layer_in, operation_name
from kbp.export.parsing import items_of

IN, OUT = "inputs", "outputs"
# Which axes of each input of an operation with a kernel are channels, and of
# which side; -1 is the last one.
_KERNELS: dict[str, tuple[dict[int, str], ...]] = {
    "CONV_2D": ({-1: IN}, {0: OUT, 3: IN}, {0: OUT}),
    "DEPTHWISE_CONV_2D": ({-1: OUT}, {3: OUT}, {0: OUT}),
    "FULLY_CONNECTED": ({-1: IN}, {0: OUT, 1: IN}, {0: OUT}),
    "TRANSPOSE_CONV": ({}, {0: OUT, 3: IN}, {-1: IN}, {0: OUT}),
}
# Those that keep channels apart: their last axes are as long as the output's,
# or a fixed multiple or part of it.
_APART = frozenset(
    (
        *("ABS", "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "DEPTH_TO_SPACE"),
        *("DEQUANTIZE", "DIV", "ELU", "EXP", "GELU", "HARD_SWISH"),
        *("LEAKY_RELU", "LOG", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN"),
        *("MINIMUM", "MIRROR_PAD", "MUL", "NEG", "PAD", "PRELU", "QUANTIZE"),
        *("REDUCE_MAX", "RELU", "RELU6", "RESIZE_BILINEAR"),
        *("RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SPACE_TO_DEPTH", "SQRT"),
        *("SQUARE", "SQUARED_DIFFERENCE", "STRIDED_SLICE", "SUB", "SUM"),
        *("TANH",),
    )
)
_NUMPY = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
}
_Axes = dict[int, dict[int, str]]


class SingleOperation:
    """One operation of a .tflite file.

    Args:
        tree: tables of the file.
        operator: one of its operators.

    Attributes:
        name: LiteRT's name of the operation.
        layers: names of Keras layers that it may have come from, that with the
            kernel first.
        inputs: number of channels that come in; 0 where the time does not
            depend on them alone.
        outputs: number of channels that go out; 0 where they are fixed.
    """

    def __init__(self, tree: schema.ModelT, operator: schema.OperatorT):
        (graph,) = tree.subgraphs
        self._tree, self._operator = tree, operator
        self._tensors = graph.tensors
        self.name = operation_name(tree.operatorCodes[operator.opcodeIndex])
        self.layers = self._layers()
        self._axes = self._find_axes()
        self.inputs, self.outputs = self._size(IN), self._size(OUT)

    def content(
        self, inputs: int = 0, outputs: int = 0, copies: int = 1
    ) -> bytes:
        """Return a file of copies of the operation, which read one input.

        Weights are the operation's own, repeated or cut.

        Args:
            inputs: channels that come in, by default as many as do.
            outputs: channels that go out, by default as many as do.
            copies: how many, each with weights and results of its own.
        """
        sizes = {IN: inputs or self.inputs, OUT: outputs or self.outputs}
        return _Writer(self, sizes).write(copies)

    def signature(self) -> str:
        """Return what tells an operation from those that take other times."""
        operator = self._operator
        options = operator.builtinOptions
        tensors = [
            (
                tensor.type,
                [int(size) for size in items_of(tensor.shape)],
                self.constant(i) is not None,
                len(_scales(tensor)),
            )
            for i, tensor in self.tensors()
        ]
        told = [self.name, sorted(vars(options).items()) if options else []]
        return hashlib.sha256(repr([told, tensors]).encode()).hexdigest()[:24]

    def tensors(self) -> Iterator[tuple[int, schema.TensorT]]:
        """Yield number and table of each tensor that it reads or writes."""
        operator = self._operator
        for i in (*items_of(operator.inputs), *items_of(operator.outputs)):
            if i != -1:
                yield int(i), self._tensors[i]

    def constant(self, i: int) -> np.ndarray | None:
        """Return the values of a tensor that is constant."""
        tensor = self._tensors[i]
        data = self._tree.buffers[tensor.buffer].data
        if data is None or not len(data):
            return None
        content = np.asarray(data, np.uint8)
        return content.view(_NUMPY.get(tensor.type, np.uint8))

    def shape(self, i: int, sizes: dict[str, int]) -> list[int]:
        """Return the shape of a tensor, with so many channels."""
        shape = [int(size) for size in items_of(self._tensors[i].shape)]
        for axis, side in self._axes.get(i, {}).items():
            # A pool of depth into space has a part of the output's.
            share = sizes[side] / max(1, getattr(self, side))
            shape[axis] = max(1, round(shape[axis] * share))
        return shape

    def _layers(self) -> list[str]:
        """Return the layers in the names of weights and results."""
        _, *weights = (i for i, _ in self.tensors())
        names = [(self._tensors[i].name or b"").decode() for i in weights]
        parts = [part for name in names for part in name.split(";")]
        return [*dict.fromkeys(layer_in(part) for part in parts)]

    def _size(self, side: str) -> int:
        """Return how many channels a side has, 0 if they are fixed."""
        (output, *_) = self._operator.outputs
        kernel = [
            self._tensors[i].shape[axis]
            for i, axes in self._axes.items()
            for axis, found in axes.items()
            if found == side and axis != -1
        ]
        if kernel:
            return int(kernel[0])
        last = self._axes.get(int(output), {}).get(-1)
        return int(self._tensors[output].shape[-1]) if last == side else 0

    def _find_axes(self) -> _Axes:
        """Return the axes of channels of each tensor, by its number."""
        ins = [int(i) for i in items_of(self._operator.inputs)]
        outs = [int(i) for i in items_of(self._operator.outputs)]
        shapes = {i: list(items_of(t.shape)) for i, t in self.tensors()}
        if len(outs) != 1 or not shapes[outs[0]]:
            return {}
        found: _Axes = {outs[0]: {-1: OUT}}
        if self.name in _KERNELS:
            for i, axes in zip(ins, _KERNELS[self.name], strict=False):
                if i != -1:
                    found[i] = axes
            return found if self._is_whole(found, shapes) else {}
        if self.name not in _APART:
            return {}
        for i in ins:
            if i == -1 or self._tensors[i].type not in _NUMPY:
                continue
            data = self.constant(i)
            whole = data is not None and data.dtype.kind == "i"
            if (
                shapes[i]
                and shapes[i][-1] > 1
                and not (whole and not _scales(self._tensors[i]))
            ):  # no shapes, axes or paddings
                found[i] = {-1: OUT}
        return found

    def _is_whole(self, axes: _Axes, shapes: dict[int, list[int]]) -> bool:
        """Say whether kernel and tensors agree on the channels.

        They do not in grouped convolutions, and in Dense behind Flatten.
        """
        for side in (IN, OUT):
            sizes = {
                shapes[i][axis]
                for i, found in axes.items()
                for axis, is_side in found.items()
                if is_side == side
            }
            if len(sizes) > 1:
                return False
        return True


class _Writer:
    """Writes one file of copies of an operation."""

    def __init__(self, single: SingleOperation, sizes: dict[str, int]):
        self.single, self.sizes = single, sizes
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self.buffers = [schema.BufferT()]  # the first one is empty
        self.shared: dict[int, int] = {}

    def write(self, copies: int) -> bytes:
        tree = schema.ModelT()
        tree.version = 3
        source = self.single._operator
        tree.operatorCodes = [
            self.single._tree.operatorCodes[source.opcodeIndex]
        ]
        tree.subgraphs, tree.buffers = [self.graph], self.buffers
        for _ in range(copies):
            operator = copy.copy(source)
            operator.opcodeIndex = 0
            operator.inputs = [self.read(int(i)) for i in source.inputs]
            operator.outputs = [self.result(int(i)) for i in source.outputs]
            self.graph.operators.append(operator)
        builder = flatbuffers.Builder()
        builder.Finish(tree.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def read(self, i: int) -> int:
        """Return the number of an operand, whose constants are copies."""
        if i == -1 or i in self.shared:
            return self.shared.get(i, i)
        values = self.single.constant(i)
        if values is None:
            self.shared[i] = self.add(i)
            self.graph.inputs.append(self.shared[i])
            return self.shared[i]
        shape = self.single.shape(i, self.sizes)
        resized = np.resize(values, math.prod(shape))
        if self.single.name == "TRANSPOSE_CONV" and resized.dtype == np.int32:
            resized[-1] = self.sizes[OUT]  # of the output's shape
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(resized.tobytes(), np.uint8)
        self.buffers.append(buffer)
        return self.add(i, len(self.buffers) - 1)

    def result(self, i: int) -> int:
        number = self.add(i)
        self.graph.outputs.append(number)
        return number

    def add(self, i: int, buffer: int = 0) -> int:
        """Add a tensor like another one, and return its number."""
        source = self.single._tensors[i]
        tensor = schema.TensorT()
        tensor.name = f"t{len(self.graph.tensors)}".encode()
        tensor.type, tensor.buffer = source.type, buffer
        tensor.shape = self.single.shape(i, self.sizes)
        tensor.quantization = source.quantization
        if len(_scales(source)) > 1:  # one for each channel
            tensor.quantization = copy.copy(source.quantization)
            count = tensor.shape[source.quantization.quantizedDimension]
            for name in ("scale", "zeroPoint"):
                values = getattr(source.quantization, name)
                setattr(tensor.quantization, name, np.resize(values, count))
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1


def _scales(tensor: schema.TensorT) -> Any:
    quantization = tensor.quantization
    return () if quantization is None else items_of(quantization.scale)
