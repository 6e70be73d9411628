"""Gradients beside central differences, in float64."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kbp._utils.arguments import check_integer
from kbp._utils.examples import check_arrays
from kbp._utils.retyped import (
    copy_weights,
    floats,
    in_dtype,
    made_anew,
    retyped,
)
from kbp._utils.types import Tensor
from kbp.diagnostics import backends
from kbp.diagnostics.differences import compare
from kbp.diagnostics.gradient_check import GradientCheck
from kbp.diagnostics.layers import silence, with_own_gradients


def check_gradients(
    model: keras.Model,
    x: Any,
    y: Any,
    loss: Any = None,
    variables: Sequence[str] | None = None,
    *,
    samples: int = 200,
    step: float | None = None,
    training: bool = False,
    seed: int = 0,
) -> GradientCheck:
    """Compare the gradients of a model's loss with central differences.

    The model is rebuilt in float64, where differences are exact to some ten
    digits. An element where the loss has a kink, as that of ReLU, is left out:
    the slopes on its two sides differ by more than the gradient is off. The
    model stays as it is.

    Args:
        model: built; Keras must be able to make it anew from its config.
        x: inputs of some examples, as for `fit`; a few are enough.
        y: their targets.
        loss: as for `compile`; by default that of the compiled model.
        variables: paths of those to check, or the beginnings of paths, such as
            a layer's name; by default all that are trained.
        samples: elements of each variable that are compared at most, chosen at
            random.
        step: by which an element `w` moves; by default
            `cbrt(2.2e-16) max(|w|, root mean square of its variable)`.
        training: whether layers compute as in training. Random changes are off
            then, and the result names their layers.
        seed: of the choice of elements.

    Returns:
        What was found of each variable.

    Raises:
        ValueError: the model is not built or has no loss or cannot be rebuilt,
            a name is that of no variable, an argument is out of range, or the
            loss is not one finite number.

    Reference:
        Goodfellow, Bengio and Courville, Deep Learning, 2016, 11.5.

    Example:
    >>> import keras, numpy as np, kbp
    >>> model = keras.Sequential(
    ...     [keras.Input((3,)), keras.layers.Dense(4, "tanh", name="hidden")]
    ... )
    >>> x, y = np.ones((2, 3)), np.zeros((2, 4))
    >>> found = kbp.diagnostics.check_gradients(model, x, y, "mse")
    >>> [(each.name, each.verdict) for each in found.variables]
    [('hidden/kernel', 'right'), ('hidden/bias', 'right')]
    """
    _check(samples, step)
    if not model.built or not model.trainable_variables:
        raise ValueError(
            f"Model {model.name} must be built, with weights to train."
        )
    check_arrays(model, x, y)
    loss = getattr(model, "loss", None) if loss is None else loss
    if loss is None:
        raise ValueError(
            f"Model {model.name} has no loss: compile it, or give argument "
            "`loss`."
        )
    if len(getattr(model, "outputs", None) or ()) > 1 and not isinstance(
        loss, dict | list | tuple
    ):
        raise ValueError(
            f"Model {model.name} has {len(model.outputs)} outputs: argument "
            "`loss` must be a list or a dictionary of as many. Received: "
            f"{loss}"
        )
    with backends.of_keras().float64(), floats("float64"):
        copy = _rebuilt(model)
        copy.compile(loss=keras.tree.map_structure(made_anew, loss))
        silenced = silence(copy) if training else ()
        chosen = _chosen(copy, variables)
        x, y = (keras.tree.map_structure(_widened, part) for part in (x, y))

        def value(tensors: list[Tensor]) -> Tensor:
            mapping = [*zip(chosen, tensors, strict=True)]
            with keras.StatelessScope(state_mapping=mapping):
                outputs = copy(x, training=training)
                return copy.compute_loss(
                    x=x, y=y, y_pred=outputs, training=training
                )

        found = compare(
            value,
            [variable.path for variable in chosen],
            [_array(variable) for variable in chosen],
            samples=samples,
            step=step,
            seed=seed,
        )
    return GradientCheck(found, with_own_gradients(model), silenced)


def check_layer(
    layer: keras.layers.Layer | Callable[..., Tensor],
    shape: Sequence[int] | Sequence[Sequence[int]],
    *,
    samples: int = 200,
    step: float | None = None,
    training: bool = False,
    seed: int = 0,
) -> GradientCheck:
    """Compare the gradients of a layer or a function with central differences.

    What is differentiated is a sum of all outputs with random weights, by the
    layer's variables and by its inputs, which are drawn from a normal
    distribution.

    Args:
        layer: that Keras can make anew from its config, built or not; or a
            function of tensors.
        shape: of the input, batch included, such as `(2, 8, 8, 3)`; of several
            inputs, a list of them.
        samples: see `check_gradients`, and so are the others.
        step: by which an element moves.
        training: whether the layer computes as in training.
        seed: of inputs, weights of outputs and the choice of elements.

    Returns:
        What was found of each variable and input.

    Raises:
        ValueError: the layer cannot be rebuilt or takes no floats, an argument
            is out of range, or the outputs are not finite.

    Example:
    >>> import keras, kbp
    >>> layer = keras.layers.Dense(3, "gelu")
    >>> kbp.diagnostics.check_layer(layer, (2, 5)).passed
    True
    """
    _check(samples, step)
    rng = np.random.default_rng(seed)
    shapes = _shapes(shape)
    inputs = [rng.normal(size=tuple(each)) for each in shapes]
    silenced: tuple[str, ...] = ()
    custom: tuple[str, ...] = ()
    weights: list[keras.Variable] = []
    call: Callable[..., Tensor] = layer
    with backends.of_keras().float64(), floats("float64"):
        convert = backends.of_keras().tensor
        given = _arguments(layer, [convert(each) for each in inputs])
        if isinstance(layer, keras.layers.Layer):
            call = copy = _rebuilt_layer(layer, given)
            silenced = silence(copy) if training else ()
            custom = with_own_gradients(layer)
            weights = copy.trainable_variables
            if "training" in inspect.signature(copy.call).parameters:
                call = functools.partial(copy, training=training)
        outputs = keras.tree.flatten(call(*given))
        kinds = {keras.backend.standardize_dtype(x.dtype) for x in outputs}
        if any("float" not in kind for kind in kinds):
            raise ValueError(
                "What is differentiated must give floats. It gives "
                f"{', '.join(sorted(kinds))}."
            )
        factors = [convert(rng.normal(size=tuple(x.shape))) for x in outputs]

        def value(tensors: list[Tensor]) -> Tensor:
            mapping = [*zip(weights, tensors[: len(weights)], strict=True)]
            with keras.StatelessScope(state_mapping=mapping):
                given = _arguments(layer, tensors[len(weights) :])
                return sum(
                    keras.ops.sum(factor * output)
                    for factor, output in zip(
                        factors, keras.tree.flatten(call(*given)), strict=True
                    )
                )

        names = [f"input {n + 1}" for n in range(len(inputs))]
        found = compare(
            value,
            [*(variable.path for variable in weights), *names],
            [*map(_array, weights), *inputs],
            samples=samples,
            step=step,
            seed=seed,
        )
    return GradientCheck(found, custom, silenced)


def _check(samples: int, step: float | None) -> None:
    check_integer(samples=samples)
    if step is not None and not 0 < step < 1:
        raise ValueError(
            f"Argument `step` must be between 0 and 1. Received: step={step}"
        )


def _shapes(shape: Any) -> list[tuple[int, ...]]:
    """Return the shapes of one or several inputs."""
    several = isinstance(shape, list | tuple) and all(
        isinstance(one, list | tuple) for one in shape
    )
    shapes = [*shape] if several else [shape]
    for one in shapes:
        if not isinstance(one, list | tuple) or not all(
            isinstance(size, int) and size > 0 for size in one
        ):
            raise ValueError(
                "Argument `shape` must be whole numbers above 0, with that of "
                "the batch first, such as (2, 8), or a list of such. Received: "
                f"shape={shape!r}"
            )
    return [tuple(one) for one in shapes]


def _rebuilt(model: keras.Model) -> keras.Model:
    try:
        return in_dtype(model, "float64")
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"Model {model.name} cannot be rebuilt in float64: {error}"
        ) from error


def _rebuilt_layer(
    layer: keras.layers.Layer, inputs: tuple[Any, ...]
) -> keras.layers.Layer:
    """Return a layer in float64, built, with the weights of another if any."""
    try:
        config = retyped(layer.get_config(), "float64")
        copy: keras.layers.Layer = type(layer).from_config(config)
        copy(*inputs)
        if layer.built:
            copy_weights(layer, copy)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"Layer {layer.name} cannot be rebuilt in float64 for such inputs: "
            f"{error}"
        ) from error
    return copy


def _chosen(
    model: keras.Model, names: Sequence[str] | None
) -> list[keras.Variable]:
    """Return the trained variables whose paths begin as one of the names."""
    known: list[keras.Variable] = model.trainable_variables
    if names is None:
        return known
    for name in names:
        if not any(_begins(variable.path, name) for variable in known):
            raise ValueError(
                f"Argument `variables` must name trained variables of model "
                f"{model.name} or its layers. Received: {name!r}; there are "
                f"{', '.join(variable.path for variable in known)}"
            )
    return [v for v in known if any(_begins(v.path, name) for name in names)]


def _begins(path: str, name: str) -> bool:
    return f"{path}/".startswith(f"{name}/")


def _array(variable: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable.value), "float64")


def _widened(value: Any) -> Any:
    """Return floats in float64, and what else there is as it is."""
    array = np.asarray(value)
    return backends.of_keras().tensor(
        array.astype("float64") if array.dtype.kind == "f" else array
    )


def _arguments(
    layer: Callable[..., Tensor], tensors: list[Tensor]
) -> tuple[Any, ...]:
    """Return the arguments of a call: one by one, or as the list it takes."""
    function = layer.call if isinstance(layer, keras.layers.Layer) else layer
    places = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind is not parameter.VAR_KEYWORD
    ]
    together = (
        len(places) == 1 and places[0].kind is not places[0].VAR_POSITIONAL
    )
    return (tensors,) if len(tensors) > 1 and together else tuple(tensors)
