"""The loss over batches as a function of all weights, as one vector."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kbp._utils.retyped import floats
from kbp._utils.types import Tensor
from kbp.diagnostics import backends
from kbp.diagnostics.curvature.batches import Batch, Batches
from kbp.diagnostics.weights import (
    as_array,
    flat,
    others,
    scope,
    tensors,
    trained,
    values,
)


class MeanLoss:
    """The loss of a model over all batches, and its derivatives.

    It is that of `evaluate`: dropout is off, BatchNormalization keeps its
    statistics, and what layers add belongs to it. Batches count by their
    examples. One of them is in memory at a time, and nothing of the model
    changes.

    Args:
        model: built.
        data: see `Batches`.
        loss: as for `compile`; by default that of the compiled model.
        batch_size: see `Batches`.

    Attributes:
        variables: those that make up the vector, in this order.
        size: of the vector.

    Raises:
        ValueError: the model is not built or has no loss or no weights, the
            data are of no use, or the loss is not one finite number.
    """

    def __init__(
        self, model: keras.Model, data: Any, loss: Any, batch_size: int
    ):
        self.model, self.variables = model, trained(model)
        ends = np.cumsum([math.prod(v.shape) for v in self.variables])
        self.size, self._borders = int(ends[-1]), ends[:-1].tolist()
        self.dtype = str(self.variables[0].dtype)
        self._others = others(model)
        self._batches = Batches(data, batch_size)
        self._criterion: keras.Model | None = None
        if loss is not None:
            with floats(self.dtype):
                self._criterion = keras.Model()
                self._criterion.compile(loss=loss)
        elif getattr(model, "loss", None) is None:
            raise ValueError(
                f"Model {model.name} has no loss: compile it, or give argument "
                "`loss`."
            )
        backend = backends.of_keras()

        def gradient(weights: Tensor, rest: Any, batch: Batch) -> Tensor:
            function = self._of(rest, batch)
            return backend.gradients(function, [weights])[1][0]

        def product(
            weights: Tensor, rest: Any, batch: Batch, direction: Tensor
        ) -> Tensor:
            function = self._of(rest, batch)
            return backend.hessian_product(function, [weights], [direction])[0]

        self._value = backend.traced(self._loss)
        self._gradient = backend.traced(gradient)
        self._product = backend.traced(product)
        self._check()

    def vector(self) -> np.ndarray:
        """Return the model's weights, `(size,)`."""
        return flat(values(self.variables))

    def value(self, vector: np.ndarray | None = None) -> float:
        """Return the loss, by default at the model's weights."""
        vector = self.vector() if vector is None else vector
        return float(self._mean(self._value, self._tensor(vector)))

    def gradient(self) -> np.ndarray:
        """Return the gradient at the model's weights, `(size,)`."""
        return self._mean(self._gradient, self._tensor(self.vector()))

    def hessian(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return what multiplies a vector by the Hessian at the weights.

        It stays that at the weights of now when they change.
        """
        weights, rest = self._tensor(self.vector()), values(self._others)
        return lambda direction: self._mean(
            self._product, weights, self._tensor(direction), rest=rest
        )

    def split(self, vector: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the parts of a vector that belong to each variable."""
        return tuple(
            np.reshape(part, v.shape).astype(v.dtype)
            for part, v in zip(
                np.split(vector, self._borders), self.variables, strict=True
            )
        )

    def _tensor(self, vector: np.ndarray) -> Tensor:
        return backends.of_keras().tensor(vector.astype(self.dtype))

    def _mean(
        self, function: Any, weights: Tensor, *more: Tensor, rest: Any = None
    ) -> np.ndarray:
        """Return the mean of a function over all examples."""
        rest = values(self._others) if rest is None else rest
        total, count = np.zeros(()), 0
        for batch, rows in self._batches:
            given = tensors(batch, self.dtype)
            found = function(weights, rest, given, *more)
            total = total + rows * as_array(found)
            count += rows
        return total / count

    def _loss(self, weights: Tensor, rest: Any, batch: Batch) -> Tensor:
        x, y, sample_weight = batch
        ends = zip(
            [0, *self._borders], [*self._borders, self.size], strict=True
        )
        parts = [
            keras.ops.reshape(keras.ops.cast(weights[i:j], v.dtype), v.shape)
            for (i, j), v in zip(ends, self.variables, strict=True)
        ]
        with scope([*self.variables, *self._others], [*parts, *rest]):
            given = {
                "x": x,
                "y": y,
                "y_pred": self.model(x, training=False),
                "sample_weight": sample_weight,
                "training": False,
            }
            if self._criterion is None:
                return self.model.compute_loss(**given)
            added = sum(map(keras.ops.sum, self.model.losses))
            with floats(self.dtype):
                return self._criterion.compute_loss(**given) + added

    def _of(self, rest: Any, batch: Batch) -> Callable[[list[Tensor]], Tensor]:
        return lambda points: self._loss(points[0], rest, batch)

    def _check(self) -> None:
        batch, _ = next(iter(self._batches))
        found = self._value(
            self._tensor(self.vector()),
            values(self._others),
            tensors(batch, self.dtype),
        )
        loss = as_array(found)
        if loss.shape != () or not np.isfinite(loss):
            raise ValueError(
                "The loss must be one finite number. Received: "
                f"{loss if loss.shape == () else loss.shape}"
            )
