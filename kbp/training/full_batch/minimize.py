"""Training a small network on all examples at once."""

import contextlib
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kbp._utils.arguments import check_integer, check_limit, check_one_of
from kbp._utils.examples import check_arrays
from kbp._utils.retyped import floats, in_dtype, made_anew
from kbp.training.full_batch.objective import Objective
from kbp.training.full_batch.progress import Finished, Progress
from kbp.training.full_batch.registry import METHODS, Method


def minimize(
    model: keras.Model,
    x: Any,
    y: Any,
    *,
    method: str = "l-bfgs",
    sample_weight: Any = None,
    validation_data: tuple[Any, ...] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    max_steps: int = 1000,
    max_seconds: float = math.inf,
    tolerance: float = 1e-10,
    dtype: str | None = None,
    seed: int = 0,
    **options: Any,
) -> keras.callbacks.History:
    """Train a model on all examples at once, to the bottom of its loss.

    For networks of up to some thousands of weights, such as those of physics or
    of small tables, this takes seconds where `fit` takes minutes. The loss is
    that of `compile`, without noise: dropout is off, and BatchNormalization
    keeps its statistics.

    Args:
        model: built, and compiled with a loss. Its optimizer does not count but
            for `"annealing"`.
        x: inputs of all examples, as for `fit`; all of them are seen at once.
        y: their targets.
        method: `"l-bfgs"`, quasi-Newton steps by SciPy's L-BFGS-B;
            `"gauss-newton"`, which is for losses that are convex in the
            outputs and the one to reach 1e-10 with; `"annealing"`, which goes
            uphill, too; or what `register_method` has added.
        sample_weight: of the examples.
        validation_data: `(x, y)` or `(x, y, sample_weight)`, of which
            callbacks and the history get `val_loss`.
        callbacks: of Keras; a step of the method is an epoch to them.
        max_steps: steps after which to stop.
        max_seconds: seconds after which to stop.
        tolerance: stop where no element of the gradient is larger.
        dtype: `"float64"` to compute in it, whatever the model does; its
            weights are rounded at the end. By default as the model does.
        seed: of what the method draws.
        **options: of the method, see its function.

    Returns:
        The losses after each step.

    Raises:
        ValueError: the model is not compiled or not built, has no weights to
            train or no finite loss, the arrays do not fit it, the method is
            unknown, or an argument is out of range.

    Example:
    >>> import keras, numpy as np, kbp
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(20, 2))
    >>> y = x @ [[1.0], [2.0]] + 3
    >>> history = kbp.training.minimize(model, x, y, dtype="float64")
    >>> history.history["loss"][-1] < 1e-12
    True
    """
    check_integer(max_steps=max_steps)
    check_one_of((None, "float32", "float64"), dtype=dtype)
    check_limit(max_seconds=max_seconds, tolerance=tolerance)
    check_integer(0, seed=seed)
    _check_model(model)
    check_arrays(model, x, y, sample_weight)
    if validation_data:
        check_arrays(model, *validation_data)
    run = _method(method, options)
    kind = dtype or str(model.trainable_variables[0].dtype)
    anew = kind != keras.config.floatx()
    with floats(kind):
        computing = _in_dtype(model, kind) if anew else model
        held = keras.callbacks.CallbackList(
            list(callbacks), add_history=True, model=computing
        )
        objective = Objective(computing, x, y, sample_weight)
        validation = (
            Objective(computing, *validation_data) if validation_data else None
        )
        _check_start(objective)
        computing.stop_training = False
        held.on_train_begin()
        progress = Progress(
            objective, held, validation, max_steps, max_seconds, tolerance, seed
        )
        with contextlib.suppress(Finished):
            run(progress, **options)
        held.on_train_end()
    if anew:
        for own, found in zip(model.weights, computing.weights, strict=True):
            own.assign(keras.ops.cast(found, own.dtype))
    history: keras.callbacks.History = computing.history
    return history


def _method(name: str, options: Mapping[str, Any]) -> Method:
    """Return a method that takes these options."""
    check_one_of([x.replace("_", "-") for x in METHODS], method=name)
    run = METHODS[name.replace("-", "_")]
    known = [*inspect.signature(run).parameters][1:]
    for key in options:
        if key not in known:
            raise ValueError(
                f"Method {name} takes no argument `{key}`. It takes "
                f"{', '.join(known) or 'none'} besides those of all methods."
            )
    return run


def _check_model(model: keras.Model) -> None:
    if not model.compiled or model.loss is None:
        raise ValueError(
            f"Model {model.name} must be compiled with a loss first."
        )
    if not model.built or not model.trainable_variables:
        raise ValueError(
            f"Model {model.name} must be built, with weights to train."
        )


def _check_start(objective: Objective) -> None:
    """Raise a ValueError if the loss is no number to go down from."""
    loss, _ = objective(objective.vector())  # what every method begins with
    if not math.isfinite(loss):
        raise ValueError(
            f"The loss of model {objective.model.name} is no finite number at "
            "its first weights. Look for NaN and infinity in `x`, `y`, "
            "`sample_weight` and the weights."
        )


def _in_dtype(model: keras.Model, dtype: str) -> keras.Model:
    """Return a copy of a model that computes in a type, compiled like it."""
    new = in_dtype(model, dtype)
    settings = model.get_compile_config() or {}
    optimizer = model.optimizer
    new.compile(
        type(optimizer).from_config(optimizer.get_config()),
        keras.tree.map_structure(made_anew, model.loss),
        loss_weights=settings.get("loss_weights"),
    )
    return new
