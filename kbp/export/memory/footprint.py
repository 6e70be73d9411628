"""What a .tflite file takes: storage by layer, memory, operations by type."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from kbp.errors import UserError
from kbp.export.audit import layer_of, operation_name, weights
from kbp.export.interpreter import read_tflite
from kbp.export.memory.arena import plan_of
from kbp.export.parsing import items_of, parse
from kbp.export.runtimes import arena_size, micro


@dataclass(frozen=True)
class LayerSize:
    """What a layer takes of a file.

    Attributes:
        name: of the Keras layer, as far as names in the file show it.
        operations: number of its operations.
        parameters: number of its weights and biases.
        size: bytes of its constants: weights, biases, shapes.

    Example:
    >>> LayerSize("stem", operations=1, parameters=40, size=64).size
    64
    """

    name: str
    operations: int
    parameters: int
    size: int


@dataclass(frozen=True)
class Footprint:
    """What a .tflite file takes where it runs.

    Attributes:
        size: of the file, in bytes.
        layers: what each layer takes of it, in order of execution.
        operations: number of operations by their type, the most frequent first.
        peak: bytes of the activations that the fullest operation needs at once.
        operation: type of that operation.
        layer: its layer.
        planned: bytes in which all activations find a place, see `plan_arena`.
        measured: bytes that TFLite Micro needs, its own tables included; `None`
            where it is not installed or does not run the file.

    Example:
    >>> taken = Footprint(900, (), {}, 80, "CONV_2D", "stem", 96, None)
    >>> taken.memory
    96
    """

    size: int
    layers: tuple[LayerSize, ...]
    operations: Mapping[str, int]
    peak: int
    operation: str
    layer: str
    planned: int
    measured: int | None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Footprint":
        """Return what `dataclasses.asdict` gave, also from JSON."""
        layers = tuple(LayerSize(**layer) for layer in values["layers"])
        return cls(**{**values, "layers": layers})

    @property
    def memory(self) -> int:
        """Bytes of memory: measured, or at least planned."""
        return self.planned if self.measured is None else self.measured

    @property
    def rest(self) -> int:
        """Bytes of the file that are no layer's: tables, scales, metadata."""
        return self.size - sum(layer.size for layer in self.layers)

    @property
    def largest(self) -> LayerSize | None:
        """The layer with the most bytes, if there is one."""
        return max(self.layers, key=lambda layer: layer.size, default=None)


def footprint(model: str | Path | bytes, *, measure: bool = True) -> Footprint:
    """Return what a .tflite file takes: bytes by layer, memory, operations.

    Args:
        model: path of the file, or its content.
        measure: whether to run the file in TFLite Micro, where it is installed,
            to see how much memory it needs there.

    Returns:
        Sizes in bytes.

    Raises:
        ValueError: the file is no .tflite file.
        FileNotFoundError: the file does not exist.

    Example:
    >>> import keras, tempfile, kbp
    >>> model = keras.Sequential(
    ...     [keras.Input((4,)), keras.layers.Dense(8, name="hidden")]
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/model.tflite"
    ...     _ = kbp.export.to_tflite(model, path)
    ...     taken = kbp.export.footprint(path, measure=False)
    >>> taken.largest
    LayerSize(name='hidden', operations=1, parameters=32, size=128)
    """
    if isinstance(model, bytes):
        content, tree = model, parse(model)
    else:
        content = read_tflite(model)
        tree = parse(content, f"{model}: the .tflite file")
    plan = plan_of(tree)
    names = Counter(
        operation_name(tree.operatorCodes[operator.opcodeIndex])
        for graph in tree.subgraphs
        for operator in items_of(graph.operators)
    )
    return Footprint(
        len(content),
        _layers(tree),
        dict(names.most_common()),
        plan.peak,
        plan.operation,
        plan.layer,
        plan.size,
        _measured(content) if measure else None,
    )


def _layers(tree: schema.ModelT) -> tuple[LayerSize, ...]:
    """Return what each layer takes; a buffer belongs to its first reader."""
    found: dict[str, LayerSize] = {}
    taken: set[int] = set()
    for graph in tree.subgraphs:
        seen: set[int] = set()
        for operator in items_of(graph.operators):
            name = layer_of(operator, graph.tensors)
            parameters = size = 0
            for i in {*map(int, items_of(operator.inputs))} - seen - {-1}:
                seen.add(i)
                tensor = graph.tensors[i]
                parameters += weights(tensor, tree.buffers).size
                if tensor.buffer not in taken:
                    taken.add(tensor.buffer)
                    size += len(items_of(tree.buffers[tensor.buffer].data))
            old = found.get(name, LayerSize(name, 0, 0, 0))
            found[name] = LayerSize(
                name,
                old.operations + 1,
                old.parameters + parameters,
                old.size + size,
            )
    return tuple(found.values())


def _measured(content: bytes) -> int | None:
    """Return the bytes that TFLite Micro needs, if it can be asked."""
    if micro.missing():
        return None
    try:
        return arena_size(content)
    except UserError:  # an operation that it lacks
        return None
