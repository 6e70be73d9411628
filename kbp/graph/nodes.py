"""The uses of layers in a model, and what each is connected with."""

import collections
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
    return retraced(model)[1]


def retraced(model: keras.Model) -> tuple[keras.Model, list[Node]]:
    """Return a model of the same layers, and its `nodes`.

    Args:
        model: a functional model.

    Returns:
        The model, whose symbolic tensors are those of the nodes; and these.

    Example:
    >>> import keras, kbp
    >>> inputs = keras.Input((4,))
    >>> model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    >>> same, (node,) = kbp.graph.retraced(model)
    >>> node.outputs[0] is same.output
    True
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

    made = rewrite(model, call=record)
    outputs = {id(x) for x in made.outputs}
    for node in found:
        node.results = [x for x in node.outputs if id(x) in outputs]
        taken = outputs.union(
            id(x) for other in node.consumers for x in other.inputs
        )
        node.used = [x for x in node.outputs if id(x) in taken]
    return made, found


def output_names(model: keras.Model) -> list[str]:
    """Return the names of a functional model's outputs, in their order.

    They are the keys of a dictionary that the model gives, else the names of
    the layers that give them; a layer that gives several numbers them.

    Args:
        model: functional or Sequential. A layer that stands for others may
            have the name of what it gives as `output_name`.

    Example:
    >>> import keras, kbp
    >>> layers = [keras.Input((4,)), keras.layers.Dense(3, name="logits")]
    >>> kbp.graph.output_names(keras.Sequential(layers))
    ['logits']
    """
    sequential = isinstance(model, keras.Sequential)
    given = model.outputs if sequential else model.output
    if isinstance(given, dict) and len(given) == len(model.outputs):
        return sorted(map(str, given))  # the order in which Keras flattens them
    layers = [_name_of(x) for x in model.outputs]
    counts, seen = collections.Counter(layers), collections.Counter[str]()
    names = []
    for name in layers:
        names.append(f"{name}_{seen[name]}" if counts[name] > 1 else name)
        seen[name] += 1
    return names


def _name_of(x: keras.KerasTensor) -> str:
    operation = x._keras_history.operation
    return str(getattr(operation, "output_name", "") or operation.name)
