"""What a person's own model is compiled with."""

import difflib
import inspect
import keyword
import types
import warnings
from typing import Any

import keras

from kbp import graph
from kbp._compat import compiled_with
from kbp.errors import UserError, nearest
from kbp.tasks.own_model import check_model
from kbp.training.own_models.description import description

_SHORT = ("mae", "mape", "mse", "msle", "bce", "kld")
_METRICS = ("accuracy", "acc", "crossentropy", "ce")  # `compile` knows them


def compile_arguments(
    model: keras.Model, loss: Any, metrics: Any
) -> dict[str, Any]:
    """Return what to compile the stages of a model with.

    Args:
        model: the model, which is left as it is, with its metrics.
        loss: instead of the model's, or `None`.
        metrics: instead of the model's, or `None`.

    Raises:
        ValueError: the model cannot be rebuilt, a weight is not of float32,
            an input has a name that no file can have, there is no loss, or a
            name is no loss or metric.
    """
    graph.check_untied(model)  # what cannot be rewritten is named first
    check_model(model)
    found = compiled_with(model) if model.compiled else {}
    if metrics is not None and not isinstance(metrics, list | tuple | dict):
        metrics = [metrics]
    given = {"loss": loss, "metrics": metrics}.items()
    found |= {key: value for key, value in given if value is not None}
    if found.get("loss") is None:
        raise ValueError(
            f"Model {model.name} is not compiled with a loss. Compile it, or "
            "give `loss` and `metrics`."
        )
    _check_names(found)
    for name in (x.name for x in model.inputs):
        if not name.isidentifier() or keyword.iskeyword(name) or name == "self":
            raise ValueError(
                f"Input {name!r} of model {model.name} cannot be exported: "
                "name it by letters, digits and _, and no word of Python's"
            )
    copies = {
        key: keras.tree.map_structure(copied, found.get(key))
        for key in ("metrics", "weighted_metrics")
    }
    return found | copies


def _check_names(found: dict[str, Any]) -> None:
    """Raise a UserError for a name that Keras does not know."""
    kinds = {
        "loss": ("loss", keras.losses, ()),
        "metrics": ("metric", keras.metrics, _METRICS),
        "weighted_metrics": ("metric", keras.metrics, _METRICS),
    }
    for key, (kind, module, more) in kinds.items():
        for name in keras.tree.flatten(found.get(key)):
            if not isinstance(name, str) or name in more:
                continue
            try:
                module.get(name)
            except (TypeError, ValueError):
                known = [*_public(module), *_SHORT, *more]
                near = difflib.get_close_matches(name, known, 3)
                words = f"; near are {', '.join(map(repr, near))}"
                raise UserError(
                    f"Argument `{key}` names no {kind} of Keras's: {name!r}"
                    f"{words if near else nearest(name, known)}"
                ) from None


def _public(module: types.ModuleType) -> list[str]:
    """Return the names of a module's classes and functions."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) or inspect.isclass(value)
        if name not in ("get", "serialize", "deserialize")
    ]


def copied(metric: Any) -> Any:
    """Return a metric with a state of its own; all else as it is.

    Args:
        metric: a metric, or what `compile` takes for one.

    Example:
    >>> import keras
    >>> from kbp.training.own_models.compiled import copied
    >>> mean = keras.metrics.Mean()
    >>> copied(mean).update_state([1.0, 3.0])
    >>> float(mean.result())
    0.0
    """
    if not isinstance(metric, keras.Metric):
        return metric
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of functions without a name
            made = type(metric).from_config(metric.get_config())
        if description(made) == description(metric):
            return made
    except Exception:  # a `get_config` of a person's own raises any
        pass
    return _by_parts(metric)


def _by_parts(metric: keras.Metric) -> keras.Metric:
    """Return a copy whose class has no `get_config` with all arguments."""
    made = object.__new__(type(metric))
    keras.Metric.__init__(made, dtype=metric.dtype, name=metric.name)
    usual = set(vars(made))
    new: dict[int, Any] = {id(metric): made}
    inner = keras.tree.flatten(vars(metric))
    own = [x for x in inner if isinstance(x, keras.Metric) and x is not metric]
    new |= {id(x): copied(x) for x in own}
    inside = {id(x) for one in own for x in one.variables}
    for variable in metric.variables:
        if id(variable) not in inside:
            copy = made.add_variable(
                variable.shape, "zeros", variable.dtype, name=variable.name
            )
            copy.assign(variable)
            new[id(variable)] = copy

    def part(value: Any) -> Any:
        if isinstance(value, types.MethodType) and value.__self__ is metric:
            return types.MethodType(value.__func__, made)
        return new.get(id(value), value)

    for name, value in vars(metric).items():
        if name not in usual:
            setattr(made, name, keras.tree.map_structure(part, value))
    return made
