"""Blocks of a model whose insides need not stay in memory."""

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from kbp.graph.nodes import Node, retraced
from kbp.graph.rewriting import as_functional


@dataclass(frozen=True)
class Block:
    """Some uses of layers, one after the other.

    Attributes:
        nodes: the uses.
        inputs: symbolic tensors that come from elsewhere.
        outputs: those that go elsewhere, or are the model's. Where gradients
            are computed, that of the first one is known last.

    Example:
    >>> import keras, kbp
    >>> layers = [keras.Input((8,)), keras.layers.Dense(4, name="dense")]
    >>> (block,) = kbp.graph.blocks(kbp.graph.nodes(keras.Sequential(layers)))
    >>> block.nodes[0].operation.name, block.kept
    ('dense', 4)
    """

    nodes: tuple[Node, ...]
    inputs: tuple[keras.KerasTensor, ...]
    outputs: tuple[keras.KerasTensor, ...]

    @property
    def inside(self) -> int:
        """Number of values of an example that the layers give."""
        return sum(_size(x) for node in self.nodes for x in node.outputs)

    @property
    def kept(self) -> int:
        """Number of those that go elsewhere."""
        return sum(map(_size, self.outputs))


def blocks(found: list[Node]) -> list[Block]:
    """Cut a model into blocks whose insides are to be computed twice.

    What goes from block to block stays in memory, and of what is within, one
    block's at a time. Of all cuts into blocks of about one size, those that
    need the least memory are taken (Chen et al., 2016: some sqrt(n) of n
    layers, where one tensor goes from layer to layer).

    Args:
        found: the uses of the model's layers, see `nodes`.

    Returns:
        The blocks in order of execution; each use is in one of them.

    Example:
    >>> import keras, kbp
    >>> layers = [keras.layers.Dense(8) for _ in range(9)]
    >>> model = keras.Sequential([keras.Input((8,)), *layers])
    >>> found = kbp.graph.blocks(kbp.graph.nodes(model))
    >>> [len(block.nodes) for block in found]
    [3, 3, 3]
    """
    return min(
        (_cut(found, count) for count in range(1, len(found) + 1)),
        key=_memory,
    )


def in_blocks(model: keras.Model) -> keras.Model:
    """Return a model of the same layers, whose blocks are computed twice.

    It computes a loss in the training of the given model, which holds the
    weights: it has none of its own, and `fit` would change nothing.

    Args:
        model: functional or Sequential; it stays as it is.

    Example:
    >>> import keras, kbp
    >>> layers = [keras.layers.Dense(8) for _ in range(9)]
    >>> model = keras.Sequential([keras.Input((8,)), *layers])
    >>> [type(x).__name__ for x in kbp.graph.in_blocks(model).layers]
    ['InputLayer', 'Twice', 'Twice', 'Once']
    """
    same, found = retraced(as_functional(model))
    made = {id(x): x for x in same.inputs}
    for block in blocks(found):
        layer = Once(block)
        if block.nodes[-1] is not found[-1]:  # its gradients come at once
            layer = Twice(layer)
        outputs = layer([made[id(x)] for x in block.inputs])
        made |= zip(map(id, block.outputs), outputs, strict=True)
    outputs = keras.tree.map_structure(lambda x: made[id(x)], same.output)
    return keras.Model(same.input, outputs)


class Once(keras.layers.Layer):
    """A block of a model as a layer.

    Args:
        block: of the model.
    """

    def __init__(self, block: Block):
        super().__init__(autocast=False)
        self.block = block

    def call(self, inputs: Sequence[Any], training: Any = None) -> list[Any]:
        known = dict(zip(map(id, self.block.inputs), inputs, strict=True))

        def value(x: Any) -> Any:
            return known.get(id(x), x)

        for node in self.block.nodes:
            operation = _operation(node)
            given = (node.arguments, node.keywords)
            args, kwargs = keras.tree.map_structure(value, given)
            if "training" in inspect.signature(operation.call).parameters:
                kwargs["training"] = training
            outputs = keras.tree.flatten(operation(*args, **kwargs))
            known |= zip(map(id, node.outputs), outputs, strict=True)
        return [known[id(x)] for x in self.block.outputs]

    def inner_variables(self) -> list[keras.Variable]:
        """Return the variables of all layers, each once."""
        operations = map(_operation, self.block.nodes)
        layers = [x for x in operations if isinstance(x, keras.layers.Layer)]
        found = {id(v): v for layer in layers for v in layer.variables}
        return [*found.values()]


class Twice(keras.layers.Layer):
    """A block of which only what goes in and out is kept.

    Args:
        once: the block.
    """

    def __init__(self, once: Once):
        super().__init__(autocast=False)
        self.once = once

    def call(self, inputs: Sequence[Any], training: Any = None) -> list[Any]:
        # Copies: TensorFlow would read variables later, when they have changed.
        values = [(v, keras.ops.copy(v)) for v in self.once.inner_variables()]
        learned = [(v, x) for v, x in values if v.trainable]
        fixed = [(v, x) for v, x in values if not v.trainable]
        scopes = []

        def pure(*tensors: Any) -> list[Any]:
            given, weights = tensors[: len(inputs)], tensors[len(inputs) :]
            own = zip((v for v, _ in learned), weights, strict=True)
            scope = keras.StatelessScope([*fixed, *own])
            scopes.append(scope)
            with scope:
                # A call tells all layers within that they train.
                return self.once([*given], training=training)

        weights = [x for _, x in learned]
        outputs: list[Any] = keras.remat(pure)(*inputs, *weights)
        for variable, before in fixed:
            after = scopes[0].get_current_value(variable)
            if after is not before:
                variable.assign(after)
        return outputs


def _operation(node: Node) -> keras.Operation:
    """Return a use's layer as it is called, with what is around it."""
    return node.outputs[0]._keras_history.operation


def _memory(parts: Sequence[Block]) -> int:
    # Of a block's values the gradients are there as well.
    return sum(x.kept for x in parts) + 2 * max(x.inside for x in parts)


def _cut(found: list[Node], count: int) -> list[Block]:
    """Return blocks of about the same number of values within."""
    sizes = [sum(map(_size, node.outputs)) for node in found]
    whole, done = max(1, sum(sizes)), 0
    parts: dict[int, list[Node]] = {}
    places = {id(node): place for place, node in enumerate(found)}
    for node, size in zip(found, sizes, strict=True):
        parts.setdefault(min(count - 1, done * count // whole), []).append(node)
        done += size
    return [_block(part, places) for part in parts.values()]


def _block(part: list[Node], places: dict[int, int]) -> Block:
    given = {id(x) for node in part for x in node.outputs}
    inputs = {
        id(x): x for node in part for x in node.inputs if id(x) not in given
    }
    # In the order of the uses after the block, the model's results last.
    last = places[id(part[-1])]
    uses = {places[id(use)]: use for node in part for use in node.consumers}
    after = [uses[place] for place in sorted(uses) if place > last]
    taken = [x for use in after for x in use.inputs if id(x) in given]
    taken += [x for node in part for x in node.results]
    outputs = {id(x): x for x in taken}
    return Block(tuple(part), tuple(inputs.values()), tuple(outputs.values()))


def _size(x: keras.KerasTensor) -> int:
    return math.prod(side or 1 for side in x.shape[1:])
