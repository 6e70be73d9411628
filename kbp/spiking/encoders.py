"""Layers that make values into currents and spikes over time."""

from typing import Any

import keras
from keras import ops

from kbp._utils.arguments import check_integer, check_number, check_positive
from kbp._utils.types import Shape, Tensor


class Encoder(keras.layers.Layer):
    """Give values an axis of time, behind that of the batch.

    Args:
        timesteps: one or more.
        **kwargs: of Keras's layers.
    """

    def __init__(self, timesteps: int, **kwargs: Any):
        super().__init__(**kwargs)
        check_integer(timesteps=timesteps)
        self.timesteps = int(timesteps)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.timesteps, *input_shape[1:])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "timesteps": self.timesteps}

    def repeated(self, inputs: Tensor) -> Tensor:
        """Return the inputs at each time step, as floats."""
        values = ops.cast(inputs, self.compute_dtype)
        return ops.repeat(values[:, None], self.timesteps, axis=1)


@keras.saving.register_keras_serializable(package="kbp")
class DirectCurrent(Encoder):
    """Give each value as a current, the same at all time steps.

    Args:
        timesteps: one or more.
        **kwargs: of Keras's layers.

    Call arguments:
        inputs: tensor `(batch, ...)`.

    Returns:
        Tensor `(batch, timesteps, ...)`.

    Raises:
        ValueError: `timesteps` is out of range.

    Example:
    >>> import kbp, keras
    >>> kbp.spiking.DirectCurrent(3)(keras.ops.array([[0.5]])).shape
    TensorShape([1, 3, 1])
    """

    def call(self, inputs: Tensor) -> Tensor:
        return self.repeated(inputs)


@keras.saving.register_keras_serializable(package="kbp")
class PoissonRate(Encoder):
    """Draw spikes, at each time step with the value as their probability.

    So the mean over time is the value. Draws are new in each call, at
    inference as well.

    Args:
        timesteps: one or more.
        seed: an integer, or a `keras.random.SeedGenerator`.
        **kwargs: of Keras's layers.

    Call arguments:
        inputs: tensor `(batch, ...)` of values of 0 to 1; others count as the
            nearer of these.

    Returns:
        Tensor `(batch, timesteps, ...)` of zeros and ones.

    Raises:
        ValueError: `timesteps` is out of range.

    Example:
    >>> import kbp, keras
    >>> x = keras.ops.array([[0.0, 1.0]])
    >>> kbp.spiking.PoissonRate(2, seed=1)(x).numpy()
    array([[[0., 1.],
            [0., 1.]]], dtype=float32)
    """

    def __init__(self, timesteps: int, *, seed: Any = None, **kwargs: Any):
        super().__init__(timesteps, **kwargs)
        self.seed = seed
        given = isinstance(seed, keras.random.SeedGenerator)
        self.seed_generator = (
            seed if given else keras.random.SeedGenerator(seed)
        )

    def call(self, inputs: Tensor) -> Tensor:
        values = self.repeated(inputs)
        drawn = keras.random.uniform(
            ops.shape(values), dtype=values.dtype, seed=self.seed_generator
        )
        return ops.cast(drawn < values, values.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="kbp")
class Latency(Encoder):
    """Give each value one spike, which comes the sooner, the larger it is.

    A value `x` has its spike at step `round((1 - x) (timesteps - 1))`; one of
    0 or less has none.

    Args:
        timesteps: one or more.
        **kwargs: of Keras's layers.

    Call arguments:
        inputs: tensor `(batch, ...)` of values of 0 to 1; larger ones count
            as 1.

    Returns:
        Tensor `(batch, timesteps, ...)` of zeros and ones.

    Raises:
        ValueError: `timesteps` is out of range.

    Example:
    >>> import kbp, keras
    >>> x = keras.ops.array([[1.0, 0.5, 0.0]])
    >>> kbp.spiking.Latency(3)(x).numpy()
    array([[[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 0.]]], dtype=float32)
    """

    def call(self, inputs: Tensor) -> Tensor:
        values = ops.minimum(self.repeated(inputs), 1.0)
        times = ops.cast(ops.arange(self.timesteps), values.dtype)
        times = ops.reshape(times, (-1, *[1] * (len(values.shape) - 2)))
        # Halves are later, on every backend.
        due = ops.floor((1 - values) * (self.timesteps - 1) + 0.5)
        return ops.cast((due == times) & (values > 0), values.dtype)


@keras.saving.register_keras_serializable(package="kbp")
class DeltaModulation(keras.layers.Layer):
    """Give a spike where a series has risen or fallen by a threshold.

    Each feature has a reference, its first value. At each step the reference
    follows by whole thresholds, up or down, and the step's spikes are how many:
    one or none where a series changes slowly enough.

    Args:
        threshold: positive, in units of the values.
        **kwargs: of Keras's layers.

    Call arguments:
        inputs: tensor `(batch, time, features)`.

    Returns:
        Tensor `(batch, time, 2 features)`: spikes of those that rose, then of
        those that fell.

    Raises:
        ValueError: `threshold` is not positive.

    Reference:
        Corradi and Indiveri, A Neuromorphic Event-Based Neural Recording
        System for Smart Brain-Machine-Interfaces, 2015.

    Example:
    >>> import kbp, keras
    >>> x = keras.ops.array([[[0.0], [0.6], [1.1], [0.4]]])
    >>> kbp.spiking.DeltaModulation(0.5)(x).numpy()[0].T
    array([[0., 1., 1., 0.],
           [0., 0., 0., 1.]], dtype=float32)
    """

    def __init__(self, threshold: float, **kwargs: Any):
        super().__init__(**kwargs)
        check_number(threshold=threshold)
        check_positive(threshold=threshold)
        self.threshold = float(threshold)

    def call(self, inputs: Tensor) -> Tensor:
        steps = (inputs - inputs[:, :1]) / self.threshold
        follow = ops.moveaxis(steps, 1, 0)

        def step(reference: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
            gap = value - reference
            moved = ops.sign(gap) * ops.floor(ops.abs(gap))
            return reference + moved, moved

        _, moves = ops.scan(step, ops.zeros_like(follow[0]), follow)
        moves = ops.moveaxis(moves, 0, 1)
        return ops.concatenate(
            [ops.maximum(moves, 0), ops.maximum(0 - moves, 0)], axis=-1
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        features = input_shape[-1]
        return (*input_shape[:-1], features and 2 * features)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold}
