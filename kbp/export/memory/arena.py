"""Where the tensors of a .tflite file lie in memory while it runs."""

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from kbp.export.audit import layer_of, operation_name
from kbp.export.interpreter import read_tflite
from kbp.export.parsing import bytes_of, items_of, parse

ALIGNMENT = 16  # bytes, in TFLite Micro and more than LiteRT asks for


@dataclass(frozen=True)
class Block:
    """A tensor's place in memory.

    Attributes:
        name: of the tensor; of a graph inside the graph, that of the operation
            which runs it.
        first: index of the first operation that needs it.
        last: index of the last one.
        size: in bytes, a multiple of 16.
        offset: of its first byte.

    Example:
    >>> Block("pool", first=0, last=2, size=64, offset=128).end
    192
    """

    name: str
    first: int
    last: int
    size: int
    offset: int = 0

    @property
    def end(self) -> int:
        """The byte behind it."""
        return self.offset + self.size


@dataclass(frozen=True)
class ArenaPlan:
    """The memory for what a .tflite file computes, without its weights.

    Attributes:
        size: bytes of the memory in which all tensors find a place.
        peak: bytes of the tensors that the fullest operation needs at once;
            no plan is smaller.
        operation: name of that operation, such as `"CONV_2D"`; `""` if there
            is none.
        layer: of that operation.
        blocks: places of the tensors, the largest first.

    Example:
    >>> ArenaPlan(96, 80, "CONV_2D", "stem", ()).size
    96
    """

    size: int
    peak: int
    operation: str
    layer: str
    blocks: tuple[Block, ...]


def plan_arena(model: str | Path | bytes) -> ArenaPlan:
    """Plan the memory that the activations of a .tflite file need.

    A tensor needs its place from the operation that makes it to the last one
    that reads it; inputs from the first operation on, outputs to the end. As in
    TFLite Micro, the largest tensor gets its place first, each of the others
    the lowest gap among those that are needed at the same time.

    TFLite Micro needs more than that, for its own tables and what kernels
    remember: see `kbp.export.runtimes.arena_size`, which measures it.

    Args:
        model: path of the file, or its content.

    Returns:
        Size, places, and the operation that needs most.

    Raises:
        ValueError: the file is no .tflite file.
        FileNotFoundError: the file does not exist.

    Example:
    >>> import keras, tempfile, kbp
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/model.tflite"
    ...     _ = kbp.export.to_tflite(model, path)
    ...     plan = kbp.export.plan_arena(path)
    >>> plan.size, plan.operation  # 4 and 8 values of 4 bytes
    (48, 'FULLY_CONNECTED')
    """
    if isinstance(model, bytes):
        return plan_of(parse(model))
    return plan_of(parse(read_tflite(model), f"{model}: the .tflite file"))


def plan_of(tree: schema.ModelT) -> ArenaPlan:
    """Plan the memory of a parsed file, see `plan_arena`.

    Args:
        tree: of `parse`.
    """
    return _Planner(tree).plan(0)


def place(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """Give each block an offset, the largest first, each the lowest gap.

    Args:
        blocks: whose own offsets do not count.
    """
    placed: list[Block] = []
    for block in sorted(blocks, key=lambda b: -b.size):
        offset = 0
        for other in placed:
            if other.last < block.first or block.last < other.first:
                continue  # never needed at the same time
            if other.offset - offset >= block.size:
                break
            offset = max(offset, other.end)
        at = replace(block, offset=offset)
        bisect.insort(placed, at, key=lambda b: b.offset)
    return tuple(sorted(placed, key=lambda b: -b.size))


class _Planner:
    """Plans the memory of a file's graphs.

    Args:
        tree: of the file.
    """

    def __init__(self, tree: schema.ModelT):
        self.tree = tree
        self.known: dict[int, ArenaPlan] = {}

    def plan(self, index: int, outer: tuple[int, ...] = ()) -> ArenaPlan:
        """Plan a graph's memory.

        Args:
            index: of the graph.
            outer: indices of the graphs around it.

        Raises:
            ValueError: there is no such graph, or it would run itself.
        """
        if index in self.known:
            return self.known[index]
        if index in outer or not 0 <= index < len(self.tree.subgraphs):
            raise ValueError(
                f"The .tflite file is damaged: an operation runs graph {index}"
            )
        graph = self.tree.subgraphs[index]
        operators = items_of(graph.operators)
        blocks = [*_activations(graph, self.tree.buffers)]
        for step, operator in enumerate(operators):
            for called in _graphs(operator.builtinOptions):
                size = self.plan(called, (*outer, index)).size
                blocks.append(Block(self.name(operator), step, step, size))
        live = _live(blocks, len(operators))
        placed = place(blocks)
        fullest = live.index(max(live))
        operation = layer = ""
        if len(operators):
            operation = self.name(operators[fullest])
            layer = layer_of(operators[fullest], graph.tensors)
        size = max((block.end for block in placed), default=0)
        plan = ArenaPlan(size, live[fullest], operation, layer, placed)
        self.known[index] = plan
        return plan

    def name(self, operator: schema.OperatorT) -> str:
        """Return the name of an operation."""
        return operation_name(self.tree.operatorCodes[operator.opcodeIndex])


def _live(blocks: Iterable[Block], steps: int) -> list[int]:
    """Return the bytes that each operation needs at once."""
    change = [0] * (max(1, steps) + 1)
    for block in blocks:
        change[block.first] += block.size
        change[block.last + 1] -= block.size
    return [*itertools.accumulate(change[:-1])]


def _activations(
    graph: schema.SubGraphT, buffers: Sequence[schema.BufferT]
) -> Iterator[Block]:
    """Yield the tensors that are no constants, without places."""
    end = max(0, len(items_of(graph.operators)) - 1)
    first = {int(i): 0 for i in items_of(graph.inputs)}
    last = dict(first)
    for step, operator in enumerate(items_of(graph.operators)):
        for i in (*items_of(operator.inputs), *items_of(operator.outputs)):
            first.setdefault(int(i), step)
            last[int(i)] = step
    for i in map(int, items_of(graph.outputs)):
        first.setdefault(i, 0)
        last[i] = end
    first.pop(-1, None)  # an input that is left out
    for i, begin in first.items():
        tensor = graph.tensors[i]
        keeps = tensor.isVariable  # from call to call
        if not keeps and len(items_of(buffers[tensor.buffer].data)):
            continue  # a constant, which stays in the file
        size = -(-bytes_of(tensor) // ALIGNMENT) * ALIGNMENT
        name = (tensor.name or b"").decode(errors="replace")
        lives = (0, end) if keeps else (begin, last[i])
        yield Block(name, *lives, size)


def _graphs(options: Any) -> list[int]:
    """Return the indices of the graphs that an operation runs."""
    return [
        int(value)
        for name, value in (vars(options) if options else {}).items()
        if name.endswith("SubgraphIndex") or name == "subgraph"
    ]
