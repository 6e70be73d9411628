"""Objects in words that tell them from others, in every process the same."""

import dis
import enum
import functools
import hashlib
import re
import sys
import types
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kbp import graph

# Told by name and what they were made with: their code is not a person's own.
_LIBRARIES = frozenset(sys.stdlib_module_names) | {
    *("absl", "h5py", "jax", "kbp", "keras", "ml_dtypes", "numpy", "pandas"),
    *("rich", "scipy", "sklearn", "tensorflow"),
}
# What these methods assign is a state of training, and no setting.
_RUNNING = ("__call__", "call", "update_state", "result", "reset_state")
_ATOMS = bool | int | float | complex | str | bytes | None
_DEEPEST = 60


def description(value: Any) -> str:
    """Describe what a loss, metric or model's class is and what it holds.

    Objects are told by the code of their classes, where that is a person's own,
    and by their attributes; functions by their code, their closures and the
    globals that they read. What changes while a model trains is left out: a
    metric's state, and attributes that `call` or `update_state` assign.

    Args:
        value: any value.

    Returns:
        A text without names that Keras makes up and without addresses.

    Example:
    >>> from kbp.training.own_models.description import description
    >>> a, b = (lambda y, p, k=k: k * (y - p) for k in (1.0, 2.0))
    >>> description(a) == description(a), description(a) == description(b)
    (True, False)
    """
    return _Describer().of(value)


def describe_graph(model: keras.Model) -> str:
    """Describe a functional model by all but its weights and its names."""
    return _Describer().graph(model)


class _Describer:
    """Describes values that may hold each other."""

    def __init__(self) -> None:
        self.within: list[int] = []
        # Values are held, so that no other has the identity of one.
        self.known: dict[int, tuple[Any, str]] = {}

    def of(self, value: Any) -> str:
        """Describe any value."""
        if isinstance(value, enum.Enum):
            return f"{_name(type(value))}.{value.name} {self.of(value.value)}"
        if isinstance(value, _ATOMS):
            return repr(value)
        if id(value) in self.known:
            return self.known[id(value)][1]
        if id(value) in self.within or len(self.within) > _DEEPEST:
            return f"again {_name(type(value))}"
        self.within.append(id(value))
        try:
            text = self.composed(value)
        finally:
            self.within.pop()
        if len(text) > 64:
            text = hashlib.sha256(text.encode()).hexdigest()
        self.known[id(value)] = value, text
        return text

    def composed(self, value: Any) -> str:
        """Describe a value that is made of others."""
        if isinstance(value, Mapping) and not hasattr(value, "get_config"):
            pairs = {self.of(k): self.of(v) for k, v in value.items()}
            return f"{pairs}{self.of_own_class(value)}"
        if isinstance(value, list | tuple):
            return f"{[*map(self.of, value)]}{self.of_own_class(value)}"
        if isinstance(value, set | frozenset):  # whose order is no process's
            return f"{sorted(map(self.of, value))}{self.of_own_class(value)}"
        if isinstance(value, functools.partial):
            return self.of([value.func, value.args, value.keywords])
        if isinstance(value, types.MethodType):
            return self.of([value.__func__, value.__self__])
        if isinstance(value, types.FunctionType):
            return self.function(value)
        if isinstance(value, types.CodeType):
            parts = value.co_code, value.co_consts, value.co_names
            return self.of([*parts, value.co_varnames, value.co_freevars])
        if isinstance(value, types.ModuleType):
            return value.__name__
        if isinstance(value, type):
            return f"{_name(value)} {self.class_code(value)}"
        return self.array(value) or self.object(value)

    def array(self, value: Any) -> str:
        """Describe an array or tensor; "" if it is none."""
        if isinstance(value, tf.RaggedTensor | tf.SparseTensor):
            return self.of(tf.nest.flatten(value, expand_composites=True))
        if not hasattr(value, "__array__"):
            symbol = isinstance(value, keras.KerasTensor)
            return f"symbol {value.dtype}{value.shape}" if symbol else ""
        try:
            array = np.ascontiguousarray(value)
        except Exception:  # a symbol of a graph has no values
            parts = [getattr(value, x, None) for x in ("dtype", "shape")]
            return f"{_name(type(value))} {parts}"
        if array.dtype.kind == "O":
            return self.of(array.tolist())
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        return f"{array.dtype}{np.shape(value)} {digest}"

    def function(self, function: types.FunctionType) -> str:
        """Describe a function by its code and all that it was made with."""
        cells = [*map(_content, function.__closure__ or ())]
        held = [cells, function.__defaults__, function.__kwdefaults__]
        if _is_library(function.__module__):
            return f"{function.__qualname__} {self.of(held)}"
        found = function.__globals__
        names = _names(function.__code__)
        used = {
            name: self.of_global(found[name], names)
            for name in _names(function.__code__, "LOAD_GLOBAL", "LOAD_NAME")
            if name in found
        }
        return f"{self.of(function.__code__)} {self.of(held)} {used}"

    def of_global(self, value: Any, names: list[str]) -> str:
        """Describe a global, of a module what code with such names reads."""
        if not isinstance(value, types.ModuleType):
            return self.of(value)
        if _is_library(value.__name__) or id(value) in self.within:
            return value.__name__
        self.within.append(id(value))
        read = {
            name: self.of_global(vars(value)[name], names)
            for name in names
            if name in vars(value)
        }
        self.within.pop()
        return f"{value.__name__} {read}"

    def of_own_class(self, value: Any) -> str:
        """Describe a container's class and attributes, if it is one's own."""
        kind = type(value)
        return "" if _is_library(kind.__module__) else self.object(value)

    def class_code(self, kind: type) -> str:
        """Describe the classes of a person's own that a class is made of."""
        members = [
            [_name(one), key, self.of(_unbound(value))]
            for one in kind.__mro__
            if not _is_library(one.__module__)
            for key, value in sorted(vars(one).items())
            if _is_code(value) or not (key[:1] == "_" == key[-1:])
            if key != "_abc_impl"
        ]
        return str(members) if members else ""

    def object(self, value: Any) -> str:
        """Describe an object by its class and what it holds."""
        kind = type(value)
        if hasattr(value, "python_function"):  # TensorFlow's, with its traces
            return f"{_name(kind)} {self.of(value.python_function)}"
        if isinstance(value, keras.Layer):
            known = isinstance(value, keras.Model) and graph.is_functional(
                value
            )
            what = self.graph(value) if known else self.configured(value)
            return f"{what} {self.of(value.get_weights())}"
        if isinstance(value, keras.Optimizer):
            return self.configured(value)
        if hasattr(value, "get_config"):
            return f"{self.configured(value)} {self.of(_attributes(value))}"
        if hasattr(value, "__wrapped__"):  # as `functools.cache` does
            return f"{_name(kind)} {self.of(value.__wrapped__)}"
        if not _is_library(kind.__module__):
            return f"{self.of(kind)} {self.of(_attributes(value))}"
        if callable(value) and hasattr(value, "__qualname__"):
            bound = getattr(value, "__self__", None)  # `dict.get`, of a dict
            held = "" if isinstance(bound, types.ModuleType) else self.of(bound)
            return f"{value.__module__}.{value.__qualname__} {held}"
        return f"{_name(kind)} {self.reduced(value)}"

    def graph(self, model: keras.Model) -> str:
        """Describe a functional model, whatever its layers' names."""
        uses = graph.nodes(graph.flatten(model))
        places = {id(use): place for place, use in enumerate(uses)}
        parts = [
            [self.configured(use.operation)]
            + [str(places[id(before)]) for before in use.producers]
            for use in uses
        ]
        if not graph.own_methods(model):
            return str(parts)
        own = [type(model), graph.settings(model)]
        return f"{parts} {self.of(own)}"

    def configured(self, value: Any) -> str:
        """Describe one of Keras's objects by its class and configuration."""
        try:
            config = _without_names(value.get_config())
        except Exception:  # that of a person's own raises any
            config = {}
        return f"{self.of(type(value))} {self.of(config)}"

    def reduced(self, value: Any) -> str:
        """Describe a library's object by what `pickle` makes it again from."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made = value.__reduce_ex__(4)
        except Exception:  # a lock, a generator or a file
            return re.sub(r" at 0x[0-9a-f]+", "", str(value))
        if isinstance(made, str):
            return made
        parts = [
            [*x] if place > 2 and x is not None else x
            for place, x in enumerate(made[:5])
        ]
        return self.of(parts)


def _attributes(value: Any) -> dict[str, Any]:
    """Return what a person gave an object, without what training changes."""
    kind = type(value)
    held = dict(getattr(value, "__dict__", {}))
    for one in kind.__mro__:
        slots = vars(one).get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            if hasattr(value, name):
                held[name] = getattr(value, name)
    left_out = _states(kind)
    variables: set[int] = set()
    if isinstance(value, keras.Metric):
        variables = {id(x) for x in value.variables}
    found = {
        name: held[name]
        for name in sorted(held)
        if name not in left_out and id(held[name]) not in variables
    }
    if isinstance(value, keras.Loss | keras.Metric):
        # Huber's configuration leaves its delta out, a wrapper's its function.
        for name in ("fn", "_fn", "_fn_kwargs"):
            found[name] = held.get(name)
    return found


def _states(kind: type) -> frozenset[str]:
    """Return attributes that a library or a step of training assigns."""
    found: set[str] = set()
    for one in kind.__mro__:
        library = _is_library(one.__module__)
        for name, member in vars(one).items():
            if isinstance(member, functools.cached_property):
                found.add(name)
            code = getattr(_unbound(member), "__code__", None)
            if code and (library or name in _RUNNING):
                found.update(_names(code, "STORE_ATTR"))
    return frozenset(found)


def _names(code: types.CodeType, *operations: str) -> list[str]:
    """Return names that code and what is within it use, in some operations."""
    found = set() if operations else set(code.co_names)
    if operations:
        found.update(
            str(x.argval)
            for x in dis.get_instructions(code)
            if x.opname in operations
        )
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found.update(_names(constant, *operations))
    return sorted(found)


def _is_library(module: str | None) -> bool:
    return str(module).partition(".")[0] in _LIBRARIES


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not given yet
        return "empty"


def _unbound(member: Any) -> Any:
    """Return the function or functions of a class's member."""
    if isinstance(member, property):
        return [member.fget, member.fset]
    if isinstance(member, functools.cached_property):
        return member.func
    return getattr(member, "__func__", member)


def _is_code(member: Any) -> bool:
    return isinstance(
        member, (types.FunctionType, staticmethod, classmethod, property)
    )


def _without_names(config: Any) -> Any:
    """Return a configuration without names, which Keras may make up."""
    if isinstance(config, dict):
        return {
            key: _without_names(value)
            for key, value in config.items()
            if key != "name"
        }
    if isinstance(config, list | tuple):
        return [*map(_without_names, config)]
    return config
