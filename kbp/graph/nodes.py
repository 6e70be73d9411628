"""The uses of layers in a model, and what each is connected with."""

from dataclasses import dataclass, field
from typing import Any

import keras
from keras import tree

from kbp.graph.layers import unwrapped
from kbp.graph.rewriting import rewrite, tensors_of


@dataclass(eq=False)
class Node:
    """One use of a layer or operation in a model.

    Attributes:
        operation: the layer, seen through a `TransformedLayer` around it.
        arguments: positional ones that the call was given.
        keywords: the others by name.
        inputs: symbolic tensors that go in, also those in keywords.
        outputs: symbolic tensors that come out.
        consumers: the uses that take the outputs.
        producers: the uses that gave the inputs.
        results: the outputs that are the model's.
        used: the outputs that are the model's or go into another use.

    Example:
    >>> import keras, kbp
    >>> inputs = keras.Input((4,))
    >>> x = keras.layers.Dense(3, name="dense")(inputs)
    >>> model = keras.Model(inputs, keras.layers.ReLU(name="relu")(x))
    >>> dense, relu = kbp.graph.nodes(model)
    >>> dense.successor is relu, relu.is_output
    (True, True)
    """

    operation: keras.Operation
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    inputs: list[keras.KerasTensor]
    outputs: list[keras.KerasTensor]
    consumers: list["Node"] = field(default_factory=list, repr=False)
    producers: list["Node"] = field(default_factory=list, repr=False)
    results: list[keras.KerasTensor] = field(default_factory=list, repr=False)
    used: list[keras.KerasTensor] = field(default_factory=list, repr=False)

    @property
    def is_output(self) -> bool:
        """Whether an output is one of the model's."""
        return bool(self.results)

    @property
    def successor(self) -> "Node | None":
        """The one use that takes the result, if nothing else does."""
        if self.is_output or len(self.consumers) != 1:
            return None
        return self.consumers[0]


def nodes(model: keras.Model) -> list[Node]:
    """List the uses of layers in a functional model, in order of execution.

    Args:
        model: a functional model; `flatten` makes one without layers of layers.

    Returns:
        One `Node` for each call of a layer or operation.

    Example:
    >>> import keras, kbp
    >>> inputs = keras.Input((4,))
    >>> shared = keras.layers.Dense(4, name="shared")
    >>> model = keras.Model(inputs, shared(shared(inputs)))
    >>> [node.operation.name for node in kbp.graph.nodes(model)]
    ['shared', 'shared']
    """
    found: list[Node] = []
    producer: dict[int, Node] = {}

    def record(operation: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        outputs = operation(*args, **kwargs)
        inputs = tensors_of((args, kwargs))
        node = Node(
            unwrapped(operation), args, kwargs, inputs, tree.flatten(outputs)
        )
        for x in inputs:
            if id(x) in producer:
                node.producers.append(producer[id(x)])
                producer[id(x)].consumers.append(node)
        producer.update((id(x), node) for x in node.outputs)
        found.append(node)
        return outputs

    outputs = {id(x) for x in rewrite(model, call=record).outputs}
    for node in found:
        node.results = [x for x in node.outputs if id(x) in outputs]
        taken = outputs.union(
            id(x) for other in node.consumers for x in other.inputs
        )
        node.used = [x for x in node.outputs if id(x) in taken]
    return found
