"""Scores of channels by what the loss would lose with them."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kbp import graph
from kbp._utils.types import Tensor
from kbp.errors import UserError
from kbp.layers import ChannelScale, TransformedLayer
from kbp.sparsity.beginnings import begin_with, layers_before
from kbp.sparsity.masks import masked_layers


def score_by_taylor(
    model: keras.Model, x: Any = None, y: Any = None, **arguments: Any
) -> None:
    """Begin with channels that are worth what the loss would lose with them.

    The gates become as large as the roots of `taylor_importance`, relative to
    the others of their mask; what they are more or less than before goes into
    the layers before them, so the outputs stay. `DTMSchedule` then prunes by
    what the loss needs, where else it prunes by how large weights are.

    Args:
        model: a compiled model from `apply_dtm(granularity="channel")`, of a
            trained network.
        x: batches, in any form that `fit` takes; some tens are enough.
        y: targets, of arrays.
        **arguments: others of `fit`, such as `batch_size` or
            `steps_per_epoch`.

    Raises:
        UserError: as of `taylor_importance`.

    Example:
    >>> import keras, numpy as np, kbp
    >>> layers = keras.layers
    >>> model = keras.Sequential(
    ...     [keras.Input((4,)), layers.Dense(8), layers.Dense(1)]
    ... )
    >>> masked = kbp.sparsity.apply_dtm(
    ...     model, granularity="channel", protect_ends=False
    ... )
    >>> masked.compile("sgd", "mse")
    >>> x = np.ones((64, 4))
    >>> kbp.sparsity.score_by_taylor(masked, x, x.sum(axis=1))
    """
    importance = taylor_importance(model, x, y, **arguments)
    before = layers_before(model)
    for gate in _gates(model):
        sizes = np.sqrt(importance[gate.name])
        if sizes.any():
            begin_with(model, gate, before[gate.name], sizes)


def taylor_importance(
    model: keras.Model, x: Any = None, y: Any = None, **arguments: Any
) -> dict[str, np.ndarray]:
    """Return what the loss would lose with each channel group.

    Without a group, whose gate is `w` and has the gradient `g`, a batch's loss
    changes by `-g w` to the first order. The importance is the mean of
    `(g w)^2` over the batches. Nothing trains, and what layers count, as
    BatchNormalization does, is put back.

    Args:
        model: a compiled model from `apply_dtm(granularity="channel")`, of a
            trained network.
        x: batches, in any form that `fit` takes; some tens are enough.
        y: targets, of arrays.
        **arguments: others of `fit`, such as `batch_size` or
            `steps_per_epoch`.

    Returns:
        For the name of each gate, one number for each of its groups, in the
        square of the loss's unit.

    Raises:
        UserError: the model has no masks on channels that train, is not
            compiled, or its loss is not finite.

    Example:
    >>> import keras, numpy as np, kbp
    >>> layers = keras.layers
    >>> model = keras.Sequential(
    ...     [keras.Input((4,)), layers.Dense(8, name="a"), layers.Dense(1)]
    ... )
    >>> masked = kbp.sparsity.apply_dtm(
    ...     model, granularity="channel", protect_ends=False
    ... )
    >>> masked.compile("sgd", "mse")
    >>> x = np.ones((64, 4))
    >>> found = kbp.sparsity.taylor_importance(masked, x, x.sum(axis=1))
    >>> found["a_gate"].shape
    (8,)

    Reference:
        Molchanov et al., Importance Estimation for Neural Network Pruning,
        2019, equation 8, with gates as in its section 3.2.
    """
    gates = _gates(model)
    if not gates:
        raise UserError(
            f"Model {model.name} has no masks on channels that train. Use "
            "kbp.sparsity.apply_dtm(model, granularity='channel') first."
        )
    if not model.compiled:
        raise UserError(
            f"Model {model.name} must be compiled with a loss before its "
            "channels are scored: call `model.compile`."
        )
    squares = _Squares([gate.kernel for gate in gates])
    _pass_over(model, squares, x, y, arguments)
    importance = {}
    for gate, total in zip(gates, squares.totals, strict=True):
        found = graph.values_of(total).astype(np.float64)
        if not np.isfinite(found).all():
            raise UserError(
                f"The loss of model {model.name} is not finite, so its "
                "channels cannot be scored."
            )
        importance[gate.name] = found / int(squares.iterations)
    return importance


def _gates(model: keras.Model) -> list[TransformedLayer]:
    return [
        layer
        for layer in masked_layers(model)
        if isinstance(graph.unwrapped(layer), ChannelScale)
        and layer.kernel.trainable
    ]


def _pass_over(
    model: keras.Model,
    optimizer: keras.Optimizer,
    x: Any,
    y: Any,
    arguments: dict[str, Any],
) -> None:
    """Let an optimizer that changes nothing see a model's gradients."""
    own = model.optimizer
    states = [(v, graph.values_of(v)) for v in model.non_trainable_variables]
    # A step is traced once with its optimizer, so anew with each.
    model.optimizer, model.train_function = optimizer, None
    try:
        model.fit(x, y, **{"verbose": 0, "shuffle": False, **arguments})
    finally:
        model.optimizer, model.train_function = own, None
        for variable, value in states:
            variable.assign(value)


class _Squares(keras.optimizers.Optimizer):
    """Adds up the squares of gradients times weights, and changes nothing.

    Args:
        weights: the variables to look at.

    Attributes:
        totals: the sums, of the weights' shapes.
    """

    def __init__(self, weights: list[keras.Variable]) -> None:
        super().__init__(learning_rate=0.0, name="squares")
        # Not the variables, which would become the optimizer's own.
        self.wanted = [id(weight) for weight in weights]
        self.totals: list[keras.Variable] = []

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        places = {id(x): place for place, x in enumerate(variables)}
        self.places = [places[key] for key in self.wanted]
        self.totals = [
            self.add_variable_from_reference(variables[place], "total")
            for place in self.places
        ]

    def update_step(
        self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor
    ) -> None:
        place = self._get_variable_index(variable)
        if place in self.places:
            change = gradient * ops.convert_to_tensor(variable)
            total = self.totals[self.places.index(place)]
            self.assign_add(total, ops.square(change))
