"""The uses of layers in a model, and what each is connected with."""

from dataclasses import dataclass, field

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
        inputs: symbolic tensors that go in, also those in keywords.
        outputs: symbolic tensors that come out.
        consumers: the uses that take the outputs.
        producers: the uses that gave the inputs.
        is_output: an output is one of the model's.
    """

    operation: keras.Operation
    arguments: tuple
    inputs: list[keras.KerasTensor]
    outputs: list[keras.KerasTensor]
    consumers: list["Node"] = field(default_factory=list, repr=False)
    producers: list["Node"] = field(default_factory=list, repr=False)
    is_output: bool = False

    @property
    def successor(self) -> "Node | None":
        """The one use that takes the result, if nothing else does."""
        if self.is_output or len(self.consumers) != 1:
            return None
        return self.consumers[0]


def nodes(model: keras.Model) -> list[Node]:
    """List the uses of layers in a functional model, in order of execution."""
    found: list[Node] = []
    producer: dict[int, Node] = {}

    def record(operation, *args, **kwargs):
        outputs = operation(*args, **kwargs)
        inputs = tensors_of((args, kwargs))
        call = Node(unwrapped(operation), args, inputs, tree.flatten(outputs))
        for x in inputs:
            if id(x) in producer:
                call.producers.append(producer[id(x)])
                producer[id(x)].consumers.append(call)
        producer.update((id(x), call) for x in call.outputs)
        found.append(call)
        return outputs

    outputs = {id(x) for x in rewrite(model, call=record).outputs}
    for call in found:
        call.is_output = any(id(x) in outputs for x in call.outputs)
    return found
