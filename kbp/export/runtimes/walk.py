"""The operations of a file that a runtime computes differently."""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from kbp.export.audit import audit
from kbp.export.interpreter import allocate
from kbp.export.packing import pack
from kbp.export.parsing import items_of, parse
from kbp.export.runtimes.calls import outputs_of
from kbp.export.runtimes.registry import Arrays, Runtime


@dataclass(frozen=True)
class Difference:
    """An operation of which a runtime makes something else than XNNPACK.

    Attributes:
        operation: LiteRT's name of it, such as `"FULLY_CONNECTED"`.
        layer: the Keras layer that it came from, see `kbp.export.Operation`.
        tensor: name of its output.
        share: of the output's values, those that differ.
        maximum: largest difference, in integer steps; of floats, as a share of
            the largest value, which another order of sums changes, too.

    Example:
    >>> Difference("ADD", "sum", "model/sum/add", 0.01, 1.0).operation
    'ADD'
    """

    operation: str
    layer: str
    tensor: str
    share: float
    maximum: float


def differences(
    runtime: Runtime, content: bytes, calls: Sequence[Arrays]
) -> tuple[Difference, ...]:
    """Return the operations that a runtime computes differently, in order.

    Each is given what XNNPACK gives its inputs, so the first is where the
    runtime's own results begin to differ, and others add to it.

    Args:
        runtime: that runs the file.
        content: of the file.
        calls: inputs, in the file's types and batch size.

    Raises:
        ValueError: the runtime does not run the operations so.
    """
    opened = _with_all_outputs(content, runtime.types)
    right = outputs_of(allocate(opened), calls)
    alone, taken = _taken_apart(opened)
    given = [
        [*call, *outputs] for call, outputs in zip(calls, right, strict=True)
    ]
    found = runtime.run(alone, [[call[i] for i in taken] for call in given])
    graph = parse(opened).subgraphs[0]
    makers = {
        tensor: operation
        for operator, operation in zip(
            graph.operators, audit(content).operations, strict=False
        )
        for tensor in operator.outputs
    }
    different = []
    for i, tensor in enumerate(graph.outputs):
        x, y = (np.stack([call[i] for call in side]) for side in (right, found))
        gaps = np.abs(x.astype("float64") - y.astype("float64"))
        if x.dtype.kind == "f":
            gaps /= np.abs(x).max() or 1.0
        if gaps.any():
            different.append(
                Difference(
                    makers[tensor].name,
                    makers[tensor].layer,
                    (graph.tensors[tensor].name or b"").decode(
                        errors="replace"
                    ),
                    float((gaps != 0).mean()),
                    float(gaps.max()),
                )
            )
    return tuple(different)


def _with_all_outputs(content: bytes, types: Collection[int]) -> bytes:
    """Return a file that gives what all its operations do.

    Args:
        content: of the file.
        types: of the tensors to give.
    """
    tree = parse(content)
    graph = tree.subgraphs[0]
    graph.outputs = [
        int(tensor)
        for operator in items_of(graph.operators)
        for tensor in items_of(operator.outputs)
        if tensor >= 0 and graph.tensors[tensor].type in types
    ]
    tree.signatureDefs = []  # of other outputs
    return pack(tree)


def _taken_apart(content: bytes) -> tuple[bytes, list[int]]:
    """Return a file whose operations take no other's results.

    Args:
        content: of a file that gives what all its operations do.

    Returns:
        The file, and which inputs and outputs of the first its inputs are.
    """
    tree = parse(content)
    graph = tree.subgraphs[0]
    known = [int(tensor) for tensor in (*graph.inputs, *graph.outputs)]
    wanted = {
        int(tensor)
        for operator in graph.operators
        for tensor in items_of(operator.inputs)
    }
    taken = [i for i, tensor in enumerate(known) if tensor in wanted]
    twins: dict[int, int] = {}
    graph.tensors = [*graph.tensors]
    for i in taken:
        twin = copy.deepcopy(graph.tensors[known[i]])
        twin.name = (twin.name or b"") + b"_given"
        twin.buffer = 0
        twins[known[i]] = len(graph.tensors)
        graph.tensors.append(twin)
    for operator in graph.operators:
        operator.inputs = [
            twins.get(int(x), int(x)) for x in items_of(operator.inputs)
        ]
    graph.inputs = [*twins.values()]
    return pack(tree), taken
