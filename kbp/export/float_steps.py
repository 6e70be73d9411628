"""The steps of float outputs that a file makes of integers."""

import copy
from collections.abc import Iterable, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kbp.export.audit import operation_name
from kbp.export.interpreter import Runner
from kbp.export.packing import pack
from kbp.export.parsing import items_of, parse
from kbp.export.trial import trust

# Of a column's largest: it is computed in another order, and has an offset.
FLOAT_ERROR = 2.0**-22
# What moves floats, or gives them the data's own units.
_PASSED = {
    *("ADD", "SUB", "MUL", "DIV", "NEG", "RESHAPE", "TRANSPOSE", "SQUEEZE"),
    *("EXPAND_DIMS", "SLICE", "STRIDED_SLICE", "CONCATENATION", "PACK"),
    *("GATHER", "BROADCAST_TO", "TILE", "SPLIT", "UNPACK", "REVERSE_V2"),
}
_INTEGERS = {
    getattr(schema.TensorType, name) for name in ("INT8", "UINT8", "INT16")
}


class FloatSteps:
    """Computes what one step is of each float that a file answers with.

    It is by how much the answer moves where the integer that it is made of, by
    moving it or by giving it the data's own units, is the next one. The file
    says which: the last rounded tensors before `DEQUANTIZE` on an output's way.

    Args:
        content: of a .tflite file that LiteRT has run.
    """

    def __init__(self, content: bytes) -> None:
        self._places: set[int] = set()
        self._moved: list[Runner] = []
        count = len(items_of(parse(content).subgraphs[0].outputs))
        ways = [_ways(parse(content), place) for place in range(count)]
        for source in dict.fromkeys(x for found, _ in ways for x in found):
            through = {k for found, way in ways if source in found for k in way}
            moved = _next(parse(content), source, through)
            trust(moved)  # what it adds to the file is safe
            self._moved.append(Runner(moved))
        self._places = {i for i, (found, _) in enumerate(ways) if found}

    def of(
        self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]
    ) -> dict[int, np.ndarray]:
        """Return the steps of a batch, by the places of the outputs.

        Args:
            inputs: floats, for each input of the file.
            outputs: what the file gives for them.
        """
        found: dict[int, np.ndarray] = {}
        for runner in self._moved:
            there = runner.predict_raw(list(inputs))
            there = there if isinstance(there, tuple) else (there,)
            for place in self._places:
                step = np.abs(there[place] - outputs[place])
                found[place] = np.maximum(found.get(place, 0), step)
        for place, step in found.items():
            most = np.abs(outputs[place]).max(axis=0, initial=0.0)
            found[place] = step + FLOAT_ERROR * most + 1e-30
        return found


def _ways(tree: schema.ModelT, place: int) -> tuple[list[int], set[int]]:
    """Return what an output is made of: tensors, and operations after them.

    The tensors are floats that were rounded inside the file.
    """
    graph = tree.subgraphs[0]
    makers = {
        output: k
        for k, operator in enumerate(items_of(graph.operators))
        for output in items_of(operator.outputs)
    }
    found: list[int] = []
    way: set[int] = set()
    waiting = [graph.outputs[place]]
    while waiting:
        tensor = waiting.pop()
        k = makers.get(tensor)
        if k is None or k in way:
            continue
        operator = graph.operators[k]
        name = operation_name(tree.operatorCodes[operator.opcodeIndex])
        if name == "DEQUANTIZE":
            source = operator.inputs[0]
            rounded = graph.tensors[source].type in _INTEGERS
            if rounded and source in makers and tensor not in found:
                found.append(tensor)
        elif name in _PASSED:
            way.add(k)
            waiting += [x for x in items_of(operator.inputs) if x >= 0]
    return found, way


def _next(tree: schema.ModelT, source: int, through: Iterable[int]) -> bytes:
    """Return a file in which some floats are those of the next integers.

    Args:
        tree: of the file, which changes.
        source: the tensor that `DEQUANTIZE` makes of the integers.
        through: operations that are to see the other floats.
    """
    graph = tree.subgraphs[0]
    maker = next(
        k for k, x in enumerate(graph.operators) if source in x.outputs
    )
    rounded = graph.tensors[graph.operators[maker].inputs[0]]
    moved = copy.deepcopy(graph.tensors[source])
    step = copy.deepcopy(moved)
    step.shape, step.shapeSignature = [], None
    step.buffer, moved.buffer = len(tree.buffers), 0
    moved.name, step.name = b"next", b"step"
    buffer = schema.BufferT()
    scale = np.float32(rounded.quantization.scale[0])
    buffer.data = np.frombuffer(scale.tobytes(), np.uint8)
    tree.buffers.append(buffer)
    other = len(graph.tensors)
    graph.tensors += [moved, step]
    ends = [graph, *(graph.operators[k] for k in through)]
    for end in ends:
        name = "outputs" if end is graph else "inputs"
        now = [other if x == source else int(x) for x in getattr(end, name)]
        setattr(end, name, now)
    for signature in items_of(tree.signatureDefs):
        for output in items_of(signature.outputs):
            if output.tensorIndex == source:
                output.tensorIndex = other
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version = 1
    tree.operatorCodes.append(code)
    add = schema.OperatorT()
    add.opcodeIndex = len(tree.operatorCodes) - 1
    add.inputs, add.outputs = [int(source), other + 1], [other]
    add.builtinOptionsType = schema.BuiltinOptions.AddOptions
    add.builtinOptions = schema.AddOptionsT()
    graph.operators = [*graph.operators]
    graph.operators.insert(maker + 1, add)
    return pack(tree)
