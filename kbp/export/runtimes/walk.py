"""The first operation of a file that a runtime computes differently."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from kbp.export.audit import Audit, audit
from kbp.export.interpreter import allocate
from kbp.export.packing import pack
from kbp.export.parsing import items_of, parse
from kbp.export.runtimes.calls import outputs_of
from kbp.export.runtimes.registry import Arrays, Runtime

_FLOAT_ERROR = 1e-5  # of the largest: float32 in another order is nearer


@dataclass(frozen=True)
class Difference:
    """Where a runtime first gives something else than XNNPACK.

    Attributes:
        operation: LiteRT's name of it, such as `"FULLY_CONNECTED"`.
        layer: the Keras layer that it came from, see `kbp.export.Operation`.
        tensor: name of its output.
        share: of the output's values, those that differ; of floats, by more
            than the order of a sum changes.
        maximum: largest difference, in integer steps; of floats, as a share of
            the largest value.

    Example:
    >>> Difference("ADD", "sum", "model/sum/add", 0.01, 1.0).operation
    'ADD'
    """

    operation: str
    layer: str
    tensor: str
    share: float
    maximum: float


def first_difference(
    runtime: Runtime, content: bytes, calls: Sequence[Arrays]
) -> Difference | None:
    """Return the first operation from which a runtime differs, if any does.

    Every operation's outputs become outputs of the file, for XNNPACK at one
    thread as for the runtime.

    Args:
        runtime: that runs the file.
        content: of the file.
        calls: inputs, in the file's types and batch size.

    Raises:
        ValueError: the runtime does not run the file with these outputs.
    """
    opened, places = _with_all_outputs(content, runtime.types)
    right = outputs_of(allocate(opened), calls)
    found = runtime.run(opened, calls)
    graph = parse(opened).subgraphs[0]
    operations: Audit = audit(content)
    for i, (place, tensor) in enumerate(places):
        x, y = (np.stack([call[i] for call in side]) for side in (right, found))
        gaps = np.abs(x.astype("float64") - y.astype("float64"))
        least = 0.0
        if x.dtype.kind == "f":
            gaps, least = gaps / (np.abs(x).max() or 1.0), _FLOAT_ERROR
        if not (gaps <= least).all():
            return Difference(
                operations.operations[place].name,
                operations.operations[place].layer,
                (graph.tensors[tensor].name or b"").decode(errors="replace"),
                float((gaps > least).mean()),
                float(gaps.max()),
            )
    return None


def _with_all_outputs(
    content: bytes, types: Collection[int]
) -> tuple[bytes, list[tuple[int, int]]]:
    """Return a file that gives what all its operations do.

    Args:
        content: of the file.
        types: of the tensors to give.

    Returns:
        The file, and for each output the number of its operation and tensor.
    """
    tree = parse(content)
    graph = tree.subgraphs[0]
    places = [
        (number, int(tensor))
        for number, operator in enumerate(items_of(graph.operators))
        for tensor in items_of(operator.outputs)
        if tensor >= 0 and graph.tensors[tensor].type in types
    ]
    graph.outputs = [tensor for _, tensor in places]
    tree.signatureDefs = []  # of other outputs
    return pack(tree), places
