"""Rebuilding functional models layer by layer.

Pruning and quantization both take a model apart and put it together again.
They do it here, with `keras.models.clone_model` as the one way to walk a graph.
"""

from collections.abc import Callable, Iterable
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
    _copy_settings(old, made)
    if new.compiled:  # its optimizer has a state
        made.compile(new.optimizer)
    return made


def _copy_settings(old: keras.Model, new: keras.Model) -> None:
    """Copy numbers and words that a person's class keeps as attributes."""
    bare = plain(new)
    bare.compile("sgd", "mse")
    for name, value in vars(old).items():
        simple = isinstance(value, bool | int | float | str)
        if simple and name not in vars(bare) and not name.startswith("_"):
            setattr(new, name, value)


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
