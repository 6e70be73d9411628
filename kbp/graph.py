"""Models as graphs of primitive layers, and rewriting them.

Pruning and quantization both take a model apart and put it together again.
They do it here, with `keras.models.clone_model` as the one way to walk a graph.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import keras
import numpy as np
from keras import tree

from kbp.layers import Composite, TransformedLayer


@dataclass(eq=False)
class Call:
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
    consumers: list["Call"] = field(default_factory=list, repr=False)
    producers: list["Call"] = field(default_factory=list, repr=False)
    is_output: bool = False

    @property
    def successor(self) -> "Call | None":
        """The one use that takes the result, if nothing else does."""
        if self.is_output or len(self.consumers) != 1:
            return None
        return self.consumers[0]


def as_functional(model: keras.Model) -> keras.Model:
    """Return a functional view of a functional or Sequential model.

    Raises:
        ValueError: the model is subclassed, or not built yet.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"Expected a Keras model. Received: {type(model).__name__}"
        )
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise ValueError(
                f"Model {model.name} is not built. Give it an `Input` or call "
                "it on a batch first."
            )
        (inputs,), (outputs,) = model.inputs, model.outputs
        return keras.Model(inputs, outputs, name=model.name)
    if not is_functional(model):
        raise ValueError(
            f"Model {model.name} is neither functional nor Sequential, so its "
            f"graph is not known. Received: {type(model).__name__}"
        )
    return model


def is_functional(layer) -> bool:
    """Say whether a layer is a model with a known graph."""
    return isinstance(layer, keras.Model) and hasattr(layer, "operations")


def flatten(model: keras.Model) -> keras.Model:
    """Unroll composite layers and nested models into primitive layers.

    Args:
        model: a functional or built Sequential model.

    Returns:
        A functional model that shares every layer and weight with `model`.

    Raises:
        ValueError: the model is subclassed, or not built yet.
    """
    model = as_functional(model)

    def is_unrolled(operation):
        return isinstance(
            operation, Composite | keras.Sequential
        ) or is_functional(operation)

    def unroll(layer, *args, **kwargs):
        # `call` leaves the nodes of the layers inside, `__call__` one node.
        if not is_unrolled(layer):
            return layer(*args, **kwargs)
        outputs = layer.call(*args, **kwargs)
        if isinstance(layer, Composite):
            name_operations(layer.name, (args, kwargs), outputs)
        return outputs

    while any(is_unrolled(operation) for operation in model.operations):
        try:
            model = rewrite(model, call=unroll)
        except ValueError as error:
            if "names should be unique" not in str(error):
                raise
            raise ValueError(
                f"Model {model.name} cannot be unrolled: layers of its nested "
                f"models have equal names. Give each its own. {error}"
            ) from error
    return model


def tensors_of(structure) -> list[keras.KerasTensor]:
    """Return the symbolic tensors of a nested structure, in order."""
    return [
        x for x in tree.flatten(structure) if isinstance(x, keras.KerasTensor)
    ]


def name_operations(layer: str, inputs, outputs) -> None:
    """Name new operations after the layer that they are of.

    Keras counts `reshape`, `reshape_1`, ... anew in each process, and a model
    that was loaded may hold these names already.

    Args:
        layer: name of the layer.
        inputs: what it was called with.
        outputs: what came out.
    """
    for operation in keras.Function(tensors_of(inputs), outputs).operations:
        if not isinstance(operation, keras.layers.Layer):
            operation.name = f"{layer}_{operation.name}"


class UniqueNames:
    """Gives new layers names that no layer has.

    Args:
        taken: names that are.
    """

    def __init__(self, taken: Iterable[str]):
        self.taken = set(taken)

    def __call__(self, name: str) -> str:
        unique, count = name, 1
        while unique in self.taken:
            count += 1
            unique = f"{name}_{count}"
        self.taken.add(unique)
        return unique


def rewrite(
    model: keras.Model,
    *,
    layer: Callable | None = None,
    call: Callable | None = None,
) -> keras.Model:
    """Rebuild a functional model, layer by layer.

    Args:
        model: a functional model.
        layer: `layer(old) -> new`, once for each layer and operation; by
            default each is used again as it is, weights included.
        call: `call(new, *args, **kwargs) -> outputs`, once for each use.

    Returns:
        The new functional model, not compiled.
    """
    # Keras would hand the old model's losses and optimizer to the new one.
    return keras.models.clone_model(
        plain(model),
        clone_function=layer or (lambda old: old),
        call_function=call,
    )


def plain(model: keras.Model) -> keras.Model:
    """Return a functional model without what `compile` gave it.

    Layers and weights are shared; saved, it leaves the optimizer out.
    """
    return keras.Model(model.input, model.output, name=model.name)


def copy(layer, **changes):
    """Return a new layer of the same configuration, without the weights.

    Changes of a `TransformedLayer` are those of the layer inside.
    """
    if not isinstance(layer, keras.layers.Layer):
        return layer  # an operation has no state
    if isinstance(layer, keras.layers.Lambda) or hasattr(layer, "adapt"):
        # Keras makes no Lambda from its function, and what a preprocessing
        # layer has adapted to is not in its weights. Neither is trained.
        return layer
    if type(layer) is TransformedLayer and changes:
        return TransformedLayer(
            copy(layer.layer, **changes),
            [copy(transform) for transform in layer.transforms],
            kernel=layer.kernel_attribute,
            name=layer.name,
        )
    return type(layer).from_config({**layer.get_config(), **changes})


def replace_layers(
    model: keras.Model, replace: Callable, call: Callable | None = None
) -> keras.Model:
    """Rebuild a flat model with `replace(layer) -> new` and carry weights over.

    A layer and its replacement may differ by a `TransformedLayer` on either
    side: the weights of the layer inside are copied, and those of the
    transforms that both sides begin with.
    """
    pairs = []

    def replacement(old):
        new = replace(old)
        if isinstance(new, keras.layers.Layer):
            pairs.append((old, new))
        return new

    new_model = rewrite(model, layer=replacement, call=call)
    for old, new in pairs:
        carry_weights(old, new)
    return new_model


def carry_weights(old, new) -> None:
    """Copy the variables of a layer to its replacement, both built."""
    sources, targets = unwrapped(old).variables, unwrapped(new).variables
    unwrapped(new).trainable = unwrapped(old).trainable
    for source, target in zip(sources, targets, strict=True):
        carry(source, target)  # weights and the states of seed generators
    for source, target in zip(transforms(old), transforms(new), strict=False):
        if type(source) is not type(target):
            break
        target.set_weights(source.get_weights())


def carry(source: keras.Variable, target: keras.Variable) -> None:
    """Copy a variable: its values, and whether it is trained.

    Not the array itself: JAX frees it when one of the two models trains.
    """
    target.assign(values_of(source))
    target.trainable = source.trainable


def values_of(variable: keras.Variable) -> np.ndarray:
    """Return a variable's values."""
    return keras.ops.convert_to_numpy(variable)


def unwrapped(layer):
    """Return the layer inside a `TransformedLayer`, or the layer itself."""
    return layer.innermost if isinstance(layer, TransformedLayer) else layer


def transforms(layer) -> list:
    """Return the transforms of a layer's kernels, none if it is plain."""
    found = []
    while isinstance(layer, TransformedLayer):
        found = [*layer.transforms, *found]
        layer = layer.layer
    return found


def in_float32(model: keras.Model) -> keras.Model:
    """Return a flat model that computes in float32, with the same weights."""
    new_model = replace_layers(model, copy)
    for layer in set(new_model.layers) - set(model.layers):
        for part in {layer, unwrapped(layer)}:
            part.dtype_policy = "float32"
    return new_model


def calls(model: keras.Model) -> list[Call]:
    """List the uses of layers in a functional model, in order of execution."""
    found: list[Call] = []
    producer: dict[int, Call] = {}

    def record(operation, *args, **kwargs):
        outputs = operation(*args, **kwargs)
        inputs = tensors_of((args, kwargs))
        call = Call(unwrapped(operation), args, inputs, tree.flatten(outputs))
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
