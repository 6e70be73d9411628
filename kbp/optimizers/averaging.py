"""Evaluation with averaged weights and their BatchNormalization statistics."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from kbp._utils import examples


@contextlib.contextmanager
def averaged_weights(
    model: keras.Model, data: Any = None
) -> Iterator[keras.Model]:
    """Give a model the averages of its weights within a context.

    `use_ema=True` makes any Keras optimizer keep a moving average of the
    weights: nearer to the minimum than the last weights while the learning
    rate is still high. Inside this context the model evaluates, predicts and is
    saved with them; at its end the former weights and statistics return.
    (At the end of `fit` Keras itself leaves the averages in the model; call
    `refresh_batch_norm` then.)

    Args:
        model: the model, compiled with an optimizer of `use_ema=True` that has
            made a step.
        data: examples for `refresh_batch_norm`; by default the statistics
            stay.

    Yields:
        The model.

    Raises:
        ValueError: the optimizer keeps no averages, or none yet.

    Example:
    >>> import keras, numpy, kbp
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(kbp.HybridOptimizer(0.1, use_ema=True), "mse")
    >>> x, y = numpy.ones((4, 2)), numpy.ones((4, 1))
    >>> for _ in range(3):
    ...     _ = model.train_on_batch(x, y)
    >>> with kbp.optimizers.averaged_weights(model):
    ...     loss = model.evaluate(x, y, verbose=0)

    Reference:
        Polyak and Juditsky, Acceleration of Stochastic Approximation by
        Averaging, 1992; Izmailov et al., Averaging Weights Leads to Wider
        Optima and Better Generalization, 2018 (the statistics).
    """
    optimizer = inner_optimizer(model)
    if not getattr(optimizer, "use_ema", False):
        raise ValueError(
            "The model must be compiled with an optimizer of `use_ema=True`. "
            f"Received: {optimizer}"
        )
    if not optimizer.built or not int(optimizer.iterations):
        raise ValueError(
            "There is no average yet: the optimizer has made no step."
        )
    variables = model.variables
    kept = [ops.convert_to_numpy(variable) for variable in variables]
    try:
        optimizer.finalize_variable_values(model.trainable_variables)
        if data is not None:
            refresh_batch_norm(model, data)
        yield model
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)


def inner_optimizer(model: keras.Model) -> Any:
    """Return the optimizer that moves the weights and keeps the averages.

    Mixed precision wraps it.
    """
    optimizer: Any = getattr(model, "optimizer", None)
    return getattr(optimizer, "inner_optimizer", optimizer)


def refresh_batch_norm(model: keras.Model, data: Any) -> None:
    """Recompute BatchNormalization's statistics with the present weights.

    Moving statistics belong to the weights of the training's last steps, not
    to averaged, pruned or edited ones. A layer that is called twice gets the
    statistics of its last call.

    Args:
        model: the model, with BatchNormalization layers or without.
        data: examples in any form that `fit` takes, of arrays 32 in a batch;
            some thousand are enough.

    Raises:
        ValueError: the model has trainable BatchNormalization layers and the
            data is empty.

    Example:
    >>> import keras, numpy, kbp
    >>> layer = keras.layers.BatchNormalization()
    >>> model = keras.Sequential([keras.Input((1,)), layer])
    >>> kbp.optimizers.refresh_batch_norm(model, [numpy.array([[1.0], [3.0]])])
    >>> float(layer.moving_mean[0]), float(layer.moving_variance[0])
    (2.0, 1.0)
    """
    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
    ]
    if not layers:
        return
    statistics = [
        variable
        for layer in layers
        for variable in (layer.moving_mean, layer.moving_variance)
    ]
    momenta = [layer.momentum for layer in layers]
    sums, count = [0.0] * len(statistics), 0
    try:
        for layer in layers:
            layer.momentum = 0.0  # an update then leaves the batch's own
        for batch in examples.batches(
            data, examples.shapes_of(model), "Argument `data`"
        ):
            model(batch.for_model(model), training=True)
            # The last batch may be smaller.
            sums = [
                total + len(batch) * ops.convert_to_numpy(variable)
                for total, variable in zip(sums, statistics, strict=True)
            ]
            count += len(batch)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    if not count:
        raise ValueError("Argument `data` must hold at least one batch.")
    for total, variable in zip(sums, statistics, strict=True):
        variable.assign(total / count)
