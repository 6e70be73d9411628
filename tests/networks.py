"""A dense network in NumPy, whose weights are one vector."""

import keras
import numpy as np


def dense_model(*units, activation="tanh", dtype="float64", inputs=3):
    """Return a network whose last layer is linear."""
    *hidden, last = units
    return keras.Sequential(
        [
            keras.Input((inputs,), dtype=dtype),
            *(keras.layers.Dense(n, activation, dtype=dtype) for n in hidden),
            keras.layers.Dense(last, dtype=dtype),
        ]
    )


def vector_of(model):
    return np.concatenate(
        [np.ravel(np.array(w)) for w in model.trainable_variables]
    ).astype("float64")


def split(vector, units, inputs=3):
    """Return the kernels and biases of a vector."""
    parts, place = [], 0
    for n in units:
        kernel = vector[place : place + inputs * n].reshape(inputs, n)
        place += inputs * n
        parts.append((kernel, vector[place : place + n]))
        place, inputs = place + n, n
    return parts


def outputs_of(vector, x, units):
    """Return a network of tanh units' outputs, `(examples, outputs)`."""
    for kernel, bias in split(vector, units, x.shape[1])[:-1]:
        x = np.tanh(x @ kernel + bias)
    kernel, bias = split(vector, units, 3)[-1]
    return x @ kernel + bias


def jacobian_of(vector, x, units):
    """Return the outputs' Jacobian, `(examples, outputs, weights)`."""
    layers = split(vector, units)
    signals = [x]
    for kernel, bias in layers[:-1]:
        signals.append(np.tanh(signals[-1] @ kernel + bias))
    back = np.broadcast_to(np.eye(units[-1]), (len(x), units[-1], units[-1]))
    parts = []
    for (kernel, _), signal in zip(layers[::-1], signals[::-1], strict=True):
        of_kernel = np.einsum("ni,nok->noik", signal, back)
        parts = [of_kernel.reshape(*back.shape[:2], -1), back, *parts]
        back = (back @ kernel.T) * (1 - signal[:, None] ** 2)
    return np.concatenate(parts, axis=-1)
