"""Rebuilding functional models layer by layer.

Pruning and quantization both take a model apart and put it together again.
They do it here, with `keras.models.clone_model` as the one way to walk a graph.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
from keras import tree

# What a model's class may override that changes how the model computes.
_METHODS = (
    *("call", "compute_loss", "compute_metrics", "predict_step"),
    *("test_step", "train_step"),
)


def as_functional(model: keras.Model) -> keras.Model:
    """Return a functional view of a functional or Sequential model.

    Args:
        model: a functional or built Sequential model.

    Returns:
        The model itself, or a functional one with the same layers.

    Raises:
        ValueError: the model is subclassed, or not built yet, or a class of
            its own has methods that would be lost.

    Example:
    >>> import keras, kbp
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> functional = kbp.graph.as_functional(model)
    >>> functional.layers[-1] is model.layers[-1]
    True
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"Expected a Keras model. Received: {type(model).__name__}"
        )
    sequential = isinstance(model, keras.Sequential)
    if not sequential and not is_functional(model):
        raise ValueError(
            f"Model {model.name} is neither functional nor Sequential, so its "
            f"graph is not known. Received: {type(model).__name__}"
        )
    if sequential and not model.built:
        raise ValueError(
            f"Model {model.name} is not built. Give it an `Input` or call it "
            "on a batch first."
        )
    own = own_methods(model)
    if own and (sequential or "call" in own):
        raise ValueError(
            f"Model {model.name} is a {type(model).__name__}, whose own "
            f"{own[0]} would be lost. Make it a functional model; of one, a "
            "train_step is kept."
        )
    if not sequential:
        return model
    return plain(model)


def own_methods(model: keras.Model) -> list[str]:
    """Return which methods of Keras's models a model's class overrides.

    Args:
        model: a model, of a class of Keras's or of one's own.

    Returns:
        Those of `call`, `train_step` and the like that are not Keras's.

    Example:
    >>> import keras, kbp
    >>> class Loud(keras.Model):
    ...     def train_step(self, data):
    ...         print("a step")
    ...         return super().train_step(data)
    >>> inputs = keras.Input((4,))
    >>> model = Loud(inputs, keras.layers.Dense(2)(inputs))
    >>> kbp.graph.own_methods(model)
    ['train_step']
    """
    return [
        name
        for name in _METHODS
        if not getattr(type(model), name).__module__.startswith("keras.")
    ]


def is_functional(layer: keras.Operation) -> bool:
    """Say whether a layer is a model with a known graph.

    Args:
        layer: a layer, model or operation.

    Example:
    >>> import keras, kbp
    >>> kbp.graph.is_functional(keras.layers.Dense(2))
    False
    """
    return isinstance(layer, keras.Model) and hasattr(layer, "operations")


def tensors_of(structure: object) -> list[keras.KerasTensor]:
    """Return the symbolic tensors of a nested structure, in order.

    Args:
        structure: tensors and others in lists, tuples and dicts.

    Example:
    >>> import keras, kbp
    >>> x = keras.Input((4,))
    >>> [t is x for t in kbp.graph.tensors_of(([x, 2.0], {"mask": None}))]
    [True]
    """
    return [
        x for x in tree.flatten(structure) if isinstance(x, keras.KerasTensor)
    ]


def name_operations(layer: str, inputs: object, outputs: object) -> None:
    """Name new operations after the layer that they are of.

    Keras counts `reshape`, `reshape_1`, ... anew in each process, and a model
    that was loaded may hold these names already.

    Args:
        layer: name of the layer.
        inputs: what it was called with.
        outputs: what came out.

    Example:
    >>> import keras, kbp
    >>> x = keras.Input((4,))
    >>> y = keras.ops.transpose(x)
    >>> kbp.graph.name_operations("mine", x, y)
    >>> y._keras_history.operation.name.startswith("mine_transpose")
    True
    """
    for operation in keras.Function(tensors_of(inputs), outputs).operations:
        if not isinstance(operation, keras.layers.Layer):
            operation.name = f"{layer}_{operation.name}"


class UniqueNames:
    """Gives new layers names that no layer has.

    Args:
        taken: names that layers have.

    Example:
    >>> import kbp
    >>> unique = kbp.graph.UniqueNames(["dense"])
    >>> unique("dense"), unique("dense"), unique("relu")
    ('dense_2', 'dense_3', 'relu')
    """

    def __init__(self, taken: Iterable[str]) -> None:
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
    layer: Callable[[keras.Operation], keras.Operation] | None = None,
    call: Callable[..., Any] | None = None,
) -> keras.Model:
    """Rebuild a functional model, layer by layer.

    Args:
        model: a functional model.
        layer: `layer(old) -> new`, once for each layer and operation; by
            default each is used again as it is, weights included.
        call: `call(new, *args, **kwargs) -> outputs`, once for each use.

    Returns:
        The new functional model, not compiled; of the same class, if that has
        methods of its own, such as `train_step`.

    Raises:
        ValueError: a model of that class cannot be made of inputs and outputs.

    Example:
    >>> import keras, kbp
    >>> inputs = keras.Input((4,))
    >>> outputs = keras.layers.Dense(2, activation="relu")(inputs)
    >>> def linear(layer):
    ...     return kbp.graph.clone_layer(layer, activation="linear")
    >>> model = keras.Model(inputs, outputs)
    >>> kbp.graph.rewrite(model, layer=linear).layers[-1].activation.__name__
    'linear'
    """
    # Keras would hand the old model's losses and optimizer to the new one.
    made = keras.models.clone_model(
        plain(model),
        clone_function=layer or (lambda old: old),
        call_function=call,
    )
    return in_class_of(model, made)


def with_input_shapes(
    model: keras.Model, shapes: Sequence[tuple[int, ...]]
) -> keras.Model:
    """Return a model whose inputs have fixed sizes; layers are shared.

    Args:
        model: a functional or built Sequential model.
        shapes: of an example of each input, in their order.

    Example:
    >>> import keras, kbp
    >>> layers = [keras.Input((None, 3)), keras.layers.Conv1D(2, 3)]
    >>> model = keras.Sequential(layers)
    >>> kbp.graph.with_input_shapes(model, [(8, 3)]).output_shape
    (None, 6, 2)
    """
    inputs = [
        keras.Input(shape, dtype=x.dtype, name=x.name)
        for x, shape in zip(model.inputs, shapes, strict=True)
    ]
    functional = as_functional(model)
    made = keras.models.clone_model(
        plain(functional),
        input_tensors=keras.tree.pack_sequence_as(functional.input, inputs),
        clone_function=lambda old: old,
    )
    return in_class_of(functional, made)


def in_class_of(old: keras.Model, new: keras.Model) -> keras.Model:
    """Return a model in the class of another, if that has own methods.

    Args:
        old: of a class of Keras's or of one's own.
        new: a functional model, whose layers and optimizer are used.

    Returns:
        `new`, or a model of `old`'s class with the numbers and words that `old`
        has as attributes.

    Raises:
        ValueError: a model of that class cannot be made of inputs and outputs.

    Example:
    >>> import keras, kbp
    >>> class Loud(keras.Model):
    ...     def train_step(self, data):
    ...         print("a step")
    ...         return super().train_step(data)
    >>> inputs = keras.Input((4,))
    >>> model = Loud(inputs, keras.layers.Dense(2)(inputs))
    >>> type(kbp.graph.in_class_of(model, kbp.graph.plain(model))).__name__
    'Loud'
    """
    own = own_methods(old)
    if not own:
        return new
    try:
        made = type(old)(inputs=new.input, outputs=new.output, name=new.name)
    except TypeError as error:
        raise ValueError(
            f"Model {old.name} is a {type(old).__name__}, whose own "
            f"{own[0]} would be lost: its constructor takes more than inputs, "
            "outputs and name. Give the rest default values."
        ) from error
    for key, value in settings(old).items():
        setattr(made, key, value)
    if new.compiled:  # its optimizer has a state
        made.compile(new.optimizer)
    return made


def settings(model: keras.Model) -> dict[str, Any]:
    """Return numbers and words that a person's class keeps as attributes.

    Example:
    >>> import keras, kbp
    >>> inputs = keras.Input((4,))
    >>> model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    >>> model.temperature = 2.0
    >>> kbp.graph.settings(model)
    {'temperature': 2.0}
    """
    bare = plain(model)
    bare.compile("sgd", "mse")
    return {
        key: value
        for key, value in vars(model).items()
        if isinstance(value, bool | int | float | str)
        and key not in vars(bare)
        and not key.startswith("_")
    }


def plain(model: keras.Model) -> keras.Model:
    """Return a model without what `compile` and its own class gave it.

    Layers and weights are shared; saved, it leaves the optimizer out.

    Args:
        model: a functional or built Sequential model.

    Example:
    >>> import keras, kbp
    >>> inputs = keras.Input((4,))
    >>> model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    >>> model.compile("sgd", "mse")
    >>> kbp.graph.plain(model).compiled
    False
    """
    if isinstance(model, keras.Sequential):  # which may have no `input`
        (inputs,), (outputs,) = model.inputs, model.outputs
        return keras.Model(inputs, outputs, name=model.name)
    return keras.Model(model.input, model.output, name=model.name)
