"""The layers inside of a layer, and what they do to a check of gradients."""

import types
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from kbp.layers.composite import Composite

# How much Keras's layers change at random.
_RATES = ("rate", "stddev", "dropout", "recurrent_dropout")
_OWN = {"custom_gradient", "stop_gradient", "recompute_grad", "custom_vjp"}


def _parts(layer: keras.layers.Layer) -> Iterator[tuple[Any, str]]:
    """Yield what a layer is made of, each once, with its layer's path.

    That is the layer, the layers it holds, and objects of other packages' own
    classes, such as transforms of its kernel.
    """
    seen: set[int] = set()
    waiting: list[tuple[Any, str]] = [(layer, layer.name)]
    while waiting:
        current, name = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, keras.Model):
            name = ""
        elif isinstance(current, keras.layers.Layer) and current is not layer:
            name = f"{name}/{current.name}".strip("/")
        yield current, name
        held = [*getattr(current, "layers", ()), *vars(current).values()]
        for value in held:
            values: list[Any] = [value]
            if isinstance(value, dict):
                values = [*value.values()]
            elif isinstance(value, list | tuple | set):
                values = [*value]
            waiting += [(x, name) for x in values if _may_differ(x)]


def _may_differ(value: Any) -> bool:
    """Say whether a value is a layer, or of a class that is nobody's known."""
    if isinstance(value, keras.layers.Layer):
        return True
    known = ("keras", "builtins", "tensorflow", "jax", "jaxlib", "numpy")
    package = type(value).__module__.partition(".")[0]
    return package not in known and hasattr(value, "__dict__")


def inside(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yield a layer and all layers that it holds, each once."""
    for part, _ in _parts(layer):
        if isinstance(part, keras.layers.Layer):
            yield part


def in_order(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Return a model's layers by name, the first one first.

    Nested models and kbp's composites are taken apart; names of the former's
    layers begin with that of the model.
    """
    found: dict[str, keras.layers.Layer] = {}

    def add(layers: Iterable[keras.layers.Layer], prefix: str) -> None:
        for layer in layers:
            name = f"{prefix}{layer.name}"
            if isinstance(layer, keras.Model):
                add(layer.layers, f"{name}/")
            elif isinstance(layer, Composite):
                held = [x for x in vars(layer).values() if _is_layer(x)]
                add(held, prefix)
            elif not any(layer is known for known in found.values()):
                found[name] = layer

    add(model.layers, "")
    return found


def _is_layer(value: Any) -> bool:
    return isinstance(value, keras.layers.Layer)


def silence(layer: keras.layers.Layer) -> tuple[str, ...]:
    """Switch off what changes at random, and return the names of such layers.

    Raises:
        ValueError: a layer draws numbers, and has no rate to be set to 0.
    """
    found = []
    for one in inside(layer):
        held = vars(one).values()
        if not any(isinstance(x, keras.random.SeedGenerator) for x in held):
            continue
        rates = [key for key in _RATES if isinstance(vars(one).get(key), float)]
        if not rates:
            raise ValueError(
                f"Layer {one.name} changes its inputs at random, so a loss has "
                "no derivative to compare with. Check the model with "
                "training=False."
            )
        if any(getattr(one, key) for key in rates):
            found.append(one.name)
        for key in rates:
            setattr(one, key, 0.0)
    return tuple(found)


def with_own_gradients(layer: keras.layers.Layer) -> tuple[str, ...]:
    """Return the paths of layers whose code stops or replaces gradients."""
    found = [name for part, name in _parts(layer) if _has_own(type(part))]
    return tuple(dict.fromkeys(found))


def _has_own(kind: type) -> bool:
    """Say whether a class that is not Keras's own names such an operation."""
    functions = [
        function
        for one in kind.__mro__
        if one.__module__.partition(".")[0] not in ("keras", "builtins")
        for function in vars(one).values()
    ]
    return any(_OWN & names for names in map(_names, functions))


def _names(function: Any) -> set[str]:
    """Return what a function names, and the functions of its package that do.

    Those are followed, since layers leave their arithmetic to helpers, or to
    a table of them.
    """
    names: set[str] = set()
    seen: set[int] = set()
    waiting = [function]
    while waiting:
        current = waiting.pop()
        current = getattr(current, "fget", current)  # a property
        current = getattr(current, "__func__", current)  # a class method
        current = getattr(current, "__wrapped__", current)
        code = getattr(current, "__code__", None)
        if code is None or id(code) in seen:
            continue
        seen.add(id(code))
        own = {*_names_of_code(code)}
        names |= own
        package = current.__module__.partition(".")[0]
        for name in own:
            found = current.__globals__.get(name)
            for held in found.values() if type(found) is dict else [found]:
                where = getattr(held, "__module__", None) or ""
                if where.partition(".")[0] == package:
                    waiting.append(held)
    return names


def _names_of_code(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_of_code(constant)
