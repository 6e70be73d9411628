"""Truncated gradients in float64 NumPy, from the formulas of the cells."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class SimpleRNN:
    """`h' = tanh(x W + h U + b)`."""

    states = 1

    @staticmethod
    def step(weights, x, states):
        kernel, recurrent, bias = weights
        (h,) = states
        new = np.tanh(x @ kernel + h @ recurrent + bias)
        return [new], (x, h, new)

    @staticmethod
    def back(weights, kept, grads):
        """Return gradients by weights, input and states before a step."""
        kernel, recurrent, _ = weights
        x, h, new = kept
        a = grads[0] * (1 - new**2)
        own = [x.T @ a, h.T @ a, a.sum(axis=0)]
        return own, a @ kernel.T, [a @ recurrent.T]


class LSTM:
    """`c' = f c + i g`, `h' = o tanh(c')`, gates i, f, g, o."""

    states = 2

    @staticmethod
    def step(weights, x, states):
        kernel, recurrent, bias = weights
        h, c = states
        i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        cell = f * c + i * g
        return [o * np.tanh(cell), cell], (x, h, c, i, f, g, o, cell)

    @staticmethod
    def back(weights, kept, grads):
        kernel, recurrent, _ = weights
        x, h, c, i, f, g, o, cell = kept
        dh, dc = grads
        tanh = np.tanh(cell)
        dc = dc + dh * o * (1 - tanh**2)
        gates = [
            dc * g * i * (1 - i),
            dc * c * f * (1 - f),
            dc * i * (1 - g**2),
            dh * tanh * o * (1 - o),
        ]
        a = np.concatenate(gates, axis=-1)
        own = [x.T @ a, h.T @ a, a.sum(axis=0)]
        return own, a @ kernel.T, [a @ recurrent.T, dc * f]


CELLS = {"SimpleRNN": SimpleRNN, "LSTM": LSTM}


def truncated(cell, weights, x, states, grads, factor):
    """Return outputs, and gradients by the weights, inputs and first states.

    Each output's gradient is followed back for itself.

    Args:
        cell: of `CELLS`.
        weights: of the cell.
        x: `(batch, time, features)`.
        states: before the first step.
        grads: gradients of the loss by all outputs, `(batch, time, units)`.
        factor: `factor(t, s)` of what output `t` has gone back to the states
            before step `s`, on the way to step `s - 1`.
    """
    kept, outputs, time = [], [], x.shape[1]
    now = states
    for t in range(time):
        now, more = cell.step(weights, x[:, t], now)
        kept.append(more)
        outputs.append(now[0])
    by_weights = [np.zeros_like(w) for w in weights]
    by_x, by_states = np.zeros_like(x), [np.zeros_like(s) for s in states]
    for t in range(time):
        back = [grads[:, t], *(np.zeros_like(s) for s in states[1:])]
        for s in range(t, -1, -1):
            own, into, back = cell.back(weights, kept[s], back)
            by_weights = [a + b for a, b in zip(by_weights, own, strict=True)]
            by_x[:, s] += into
            if s:
                back = [b * factor(t, s) for b in back]
        by_states = [
            a + b * factor(t, 0) for a, b in zip(by_states, back, strict=True)
        ]
    return np.stack(outputs, axis=1), [*by_weights, by_x, *by_states]


def in_blocks(time, steps):
    """Stop at borders every so many steps from the end."""
    return lambda t, s: float(s == 0 or (time - s) % steps != 0)


def by_age(steps):
    """Let each output go back through so many steps."""
    return lambda t, s: float(t - s + (s > 0) < steps)


def at(cuts, probability):
    """Stop before the steps of a set, and make up for it before others."""
    return lambda t, s: (
        1.0 if s == 0 else 0.0 if s in cuts else 1 / (1 - probability)
    )
