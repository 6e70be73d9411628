"""Ensembles: several models of one task, as one model."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kbp import graph
from kbp._utils.arguments import check_integer, check_one_of
from kbp.inference.ensembles import ENSEMBLE
from kbp.layers import MajorityVote
from kbp.training.techniques.starts import trained

# What makes one output of several.
COMBINE: dict[str, Callable[..., keras.layers.Layer]] = {
    "mean": keras.layers.Average,
    "vote": MajorityVote,
}


def combined(
    models: Sequence[keras.Model], *, combine: str = "mean"
) -> keras.Model:
    """Return one model with one input, and the combined output of several.

    It is an ordinary functional model: it is pruned, rounded, exported and
    saved as its members are. Names of layers begin with `member0_`,
    `member1_`, ...

    Args:
        models: two or more functional or Sequential models of one input and one
            output, of equal shapes; they stay as they are.
        combine: `"mean"` of the outputs, such as of logits or of forecasts, or
            `"vote"`, the share of the members by which each class has the
            largest score.

    Returns:
        A new, uncompiled model with copies of the weights.

    Raises:
        ValueError: there are fewer than two models, or they do not fit.

    Example:
    >>> import keras, numpy as np, kbp
    >>> def network():
    ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> models = [network(), network()]
    >>> x = np.ones((1, 4), "float32")
    >>> mean = np.mean([model(x) for model in models], axis=0)
    >>> bool(np.allclose(kbp.training.combined(models)(x), mean))
    True
    """
    check_one_of(tuple(COMBINE), combine=combine)
    _check(models, combine)
    members = [_renamed(model, f"member{n}") for n, model in enumerate(models)]
    (first,) = members[0].inputs
    inputs = keras.Input(first.shape[1:], dtype=first.dtype, name=first.name)
    outputs = [member(inputs) for member in members]
    whole = keras.Model(
        inputs,
        COMBINE[combine](name=ENSEMBLE)(outputs),
        name=f"{models[0].name}_{ENSEMBLE}",
    )
    return graph.flatten(whole)


def bagging(
    build: Callable[[], keras.Model],
    data: Any,
    *,
    members: int = 5,
    bootstrap: bool = True,
    combine: str = "mean",
    seed: int = 0,
    **fit: Any,
) -> keras.Model:
    """Train several models on samples of the data, and combine them.

    A seed decides a member's first weights, dropout, its sample and the order
    of the examples.

    Args:
        build: `build() -> model` returns a new model, compiled.
        data: arrays `(x, y)` or `(x, y, sample_weight)`; without `bootstrap`
            also a data set, see `fit`.
        members: number of models.
        bootstrap: whether each learns from as many examples that are drawn with
            replacement; otherwise all do from all of them.
        combine: see `kbp.training.combined`.
        seed: of the first one; the others follow it.
        **fit: further arguments of `fit`, such as `epochs`. Validation data
            are never drawn from.

    Returns:
        The combined model, not compiled. `kbp.inference.ensembles.members_of`
        takes it apart.

    Raises:
        ValueError: an argument is out of range, the data cannot be drawn from,
            or the models do not fit.

    Example:
    >>> import keras, numpy as np, kbp
    >>> def build():
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> x = np.random.default_rng(0).normal(size=(32, 2))
    >>> model = kbp.training.bagging(
    ...     build, (x, x[:, :1]), members=3, epochs=2, verbose=0
    ... )
    >>> model.output_shape
    (None, 1)

    Reference:
        Breiman, Bagging Predictors, 1996.
    """
    check_integer(2, members=members)
    check_integer(0, seed=seed)
    check_one_of(tuple(COMBINE), combine=combine)
    if bootstrap and not isinstance(data, tuple):
        raise ValueError(
            "Argument `data` must be arrays (x, y) to be drawn from; a data "
            f"set needs bootstrap=False. Received: {type(data).__name__}"
        )
    if bootstrap and "sample_weight" in fit:
        raise ValueError(
            "Argument `sample_weight` must be part of the data that are drawn "
            "from: (x, y, sample_weight)."
        )
    found = trained(
        build,
        range(seed, seed + members),
        lambda own: _drawn(data, own) if bootstrap else data,
        fit,
    )
    return combined([model for _, model in found], combine=combine)


def _drawn(arrays: tuple[Any, ...], seed: int) -> tuple[Any, ...]:
    """Return as many examples, drawn with replacement."""
    counts = [len(x) for x in keras.tree.flatten(arrays)]
    if len({*counts}) > 1:
        raise ValueError(
            "Argument `data` must hold as many examples in each array. "
            f"Received: {counts}"
        )
    count = counts[0]
    drawn = np.random.default_rng(seed).integers(count, size=count)
    return keras.tree.map_structure(lambda x: np.asarray(x)[drawn], arrays)


def _check(models: Sequence[keras.Model], combine: str) -> None:
    """Raise a ValueError if models cannot be combined."""
    if len(models) < 2:
        raise ValueError(
            "Argument `models` must be two models or more. Received: "
            f"{len(models)}"
        )
    for model in models:
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ValueError(
                f"Model {model.name} must have one input and one output to be "
                f"combined; it has {len(model.inputs)} and {len(model.outputs)}"
            )
        if combine == "vote" and model.output_shape[-1] == 1:
            raise ValueError(
                f"Model {model.name} has one number as its output, and nothing "
                "to vote on. Use combine='mean'."
            )
    shapes = {(m.input_shape, m.output_shape) for m in models}
    if len(shapes) > 1:
        raise ValueError(
            "Argument `models` must be of equal input and output shapes. "
            f"Received: {sorted(shapes, key=str)}"
        )


def _renamed(model: keras.Model, prefix: str) -> keras.Model:
    """Return a flat copy whose layers have names of their own."""

    def renamed(layer: keras.Operation) -> keras.Operation:
        new = graph.clone_layer(layer)
        name = layer.name.removeprefix(f"{prefix}_")  # of shared operations
        new.name = f"{prefix}_{name}"
        return new

    copy = graph.replace_layers(graph.flatten(model), renamed)
    copy.name = prefix
    return copy
