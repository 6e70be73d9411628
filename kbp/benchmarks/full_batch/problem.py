"""A regression that a small network can solve without an error."""

import keras
import numpy as np

ROWS, INPUTS, WIDTH, TEACHER = 1000, 20, 23, 5
GOAL = 1e-10  # of the mean squared error


def examples(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs, and what a narrower network of the kind makes of them.

    Args:
        seed: of both.

    Returns:
        Float64 `(ROWS, INPUTS)` and `(ROWS, 1)`.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, INPUTS))
    kernel = rng.normal(0, INPUTS**-0.5, (INPUTS, TEACHER))
    bias = rng.normal(0, 0.5, TEACHER)
    last = rng.normal(0, TEACHER**-0.5, (TEACHER, 1))
    return x, np.tanh(x @ kernel + bias) @ last


def network(seed: int, dtype: str = "float32") -> keras.Model:
    """Return a network of 507 weights, untrained."""
    first, second = (
        keras.initializers.GlorotUniform(2 * seed + n) for n in (0, 1)
    )
    hidden = keras.layers.Dense(
        WIDTH, "tanh", kernel_initializer=first, dtype=dtype
    )
    output = keras.layers.Dense(1, kernel_initializer=second, dtype=dtype)
    return keras.Sequential(
        [keras.Input((INPUTS,), dtype=dtype), hidden, output]
    )
