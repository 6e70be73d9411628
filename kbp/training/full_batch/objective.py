"""The loss over all examples as a function of all weights, as one vector."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kbp.diagnostics.backends import on_tensorflow


class Objective:
    """The loss of a model over all examples, a function of a flat vector.

    The model computes as at inference, so the loss has no noise: dropout is
    off, and BatchNormalization keeps its statistics.

    Args:
        model: compiled with a loss.
        x: inputs of all examples, an array or a structure of them.
        y: their targets.
        sample_weight: of the examples, perhaps `None`.

    Attributes:
        weights: the variables that make up the vector, in this order.
        size: of the vector.

    Call arguments:
        vector: `(size,)`.

    Returns:
        The loss, with what the layers add to it, and its gradient `(size,)`,
        in float64.
    """

    def __init__(
        self, model: keras.Model, x: Any, y: Any, sample_weight: Any = None
    ):
        self.model = model
        self.weights = model.trainable_variables
        self.size = sum(math.prod(w.shape) for w in self.weights)
        dtype = self.weights[0].dtype

        def converted(value: Any) -> Any:
            if value is None:
                return None
            array = np.asarray(value)
            return tf.constant(
                array, dtype if array.dtype.kind == "f" else None
            )

        self._x, self._y, self._sample_weight = (
            keras.tree.map_structure(converted, part)
            for part in (x, y, sample_weight)
        )
        self._variables = [w.value for w in self.weights]
        # For small networks, a call of TensorFlow takes longer than its sums.
        self._assign = tf.function(self._assigned)
        self._value = tf.function(self._value_at)
        self._gradient = tf.function(self._value_and_gradient)
        self._product = tf.function(self._curvature_product)

    def __call__(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = self._gradient(self._narrow(vector))
        return float(loss), _wide(gradient)

    def loss(self, vector: np.ndarray) -> float:
        """Return the loss alone.

        Args:
            vector: `(size,)`.
        """
        return float(self._value(self._narrow(vector)))

    def curvature_product(self, direction: np.ndarray) -> np.ndarray:
        """Return the Gauss-Newton matrix at the weights, times a vector.

        The matrix is `J^T H J + R`, with the Jacobian `J` of the outputs, the
        Hessian `H` of the loss in the outputs and that of what layers add, `R`.
        None of them is stored, but what they make of a vector (Schraudolph,
        Fast Curvature Matrix-Vector Products, 2002).

        Args:
            direction: `(size,)`.

        Returns:
            The product, `(size,)`, in float64.
        """
        return _wide(self._product(self._narrow(direction)))

    def vector(self) -> np.ndarray:
        """Return the model's weights as one vector, in float64."""
        parts = [w.numpy().ravel() for w in self._variables]
        return np.concatenate(parts).astype("float64")

    def assign(self, vector: np.ndarray) -> None:
        """Give the model the weights of a vector."""
        self._assign(self._narrow(vector))

    def split(self, vector: np.ndarray) -> list[tf.Tensor]:
        """Return the parts of a vector that belong to each of `weights`."""
        return self._parts(self._narrow(vector))

    def _narrow(self, vector: np.ndarray) -> tf.Tensor:
        return tf.constant(vector, self._variables[0].dtype)

    def _parts(self, vector: tf.Tensor) -> list[tf.Tensor]:
        sizes = [math.prod(w.shape) for w in self.weights]
        return [
            tf.reshape(part, w.shape)
            for part, w in zip(
                tf.split(vector, sizes), self._variables, strict=True
            )
        ]

    def _assigned(self, vector: tf.Tensor) -> None:
        parts = self._parts(vector)
        for variable, part in zip(self._variables, parts, strict=True):
            variable.assign(part)

    def _value_at(self, vector: tf.Tensor) -> tf.Tensor:
        self._assigned(vector)
        return self._loss()

    def _loss(self) -> tf.Tensor:
        outputs = self.model(self._x, training=False)
        return self._loss_of(outputs)

    def _loss_of(self, outputs: Any) -> tf.Tensor:
        """Return the loss of outputs, with what layers add."""
        return self.model.compute_loss(
            x=self._x,
            y=self._y,
            y_pred=outputs,
            sample_weight=self._sample_weight,
            training=False,
        )

    def _value_and_gradient(
        self, vector: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        self._assigned(vector)
        with tf.GradientTape() as tape:
            loss = self._loss()
        return loss, self._flat(tape.gradient(loss, self._variables))

    def _curvature_product(self, direction: tf.Tensor) -> tf.Tensor:
        def outputs_at(variables: Any) -> Any:
            return tf.nest.flatten(self.model(self._x, training=False))

        def loss_at(outputs: Any) -> tf.Tensor:
            return self._loss_of(self._structured(outputs))

        parts = self._parts(direction)
        with tf.GradientTape() as back:
            outputs, moved = on_tensorflow.pushed(
                outputs_at, self._variables, parts
            )
        bent = on_tensorflow.hessian_product(loss_at, outputs, moved)
        product = self._flat(
            back.gradient(outputs, self._variables, output_gradients=bent)
        )
        return product + self._penalty_product(parts)

    def _penalty_product(self, parts: list[tf.Tensor]) -> tf.Tensor:
        """Return the Hessian of the layers' penalties, times a vector."""
        if not self.model.losses:
            return tf.zeros(self.size, self._variables[0].dtype)

        def penalty_at(variables: Any) -> tf.Tensor:
            self.model(self._x, training=False)
            return sum(map(tf.reduce_sum, self.model.losses))

        return self._flat(
            on_tensorflow.hessian_product(penalty_at, self._variables, parts)
        )

    def _structured(self, outputs: list[tf.Tensor]) -> Any:
        return tf.nest.pack_sequence_as(
            self.model.output if len(outputs) > 1 else outputs[0],
            outputs,
        )

    def _flat(self, parts: list[tf.Tensor | None]) -> tf.Tensor:
        return tf.concat(
            [
                tf.zeros(math.prod(w.shape), w.dtype)
                if part is None
                else tf.reshape(tf.convert_to_tensor(part), [-1])
                for part, w in zip(parts, self._variables, strict=True)
            ],
            axis=0,
        )


def _wide(tensor: tf.Tensor) -> np.ndarray:
    return tensor.numpy().astype("float64")
