"""How far gradients go back: in blocks, in sliding windows, or at random."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kbp._utils.types import Tensor
from kbp.layers.recurrent.loop import (
    Carry,
    Loop,
    scaled,
    stopped,
    with_feature,
)

# Parts of a sequence that are computed twice, one after the other: each is a
# loop of the graph, so there are few.
_PARTS = 20
_SHARE = 0.1  # of the steps' memory that windows computed together may take
Result = tuple[Tensor | None, Carry]


def blocks(loop: Loop, steps: int, seed: Any) -> Result:
    """Cut the gradient every so many steps, counted from the end."""
    time = loop.inputs.shape[1]
    if not loop.layer.return_sequences:
        return newest(loop, steps)
    size = steps * -(-time // (_PARTS * steps))
    if size == steps:
        return _in_parts(loop, loop.inputs, size, loop.step, border=0.0)
    cut = (time - np.arange(time)) % steps == 0
    return _with_factors(loop, ops.convert_to_tensor(~cut), 1.0, size)


def randomized(loop: Loop, steps: int, seed: Any) -> Result:
    """Cut the gradient before each step but the first, or make up for it."""
    time = loop.inputs.shape[1]
    passes = keras.random.uniform((time,), seed=seed) >= 1 / steps
    factor = steps / max(1, steps - 1)  # 1 / (1 - 1 / steps)
    return _with_factors(loop, passes, factor, -(-time // _PARTS))


def sliding(loop: Loop, steps: int, seed: Any) -> Result:
    """Let the gradient of each output go through its newest steps alone."""
    time = loop.inputs.shape[1]
    if not loop.layer.return_sequences:
        return newest(loop, steps)

    def observed(inputs: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        _, after = loop.step(inputs, carry)
        return ops.concatenate(after, axis=-1), after

    outputs, _ = loop.run(loop.inputs[:, :steps], loop.carry, loop.weights)
    before, _ = loop.run(
        ops.stop_gradient(loop.inputs[:, :-1]),
        stopped(loop.carry),
        stopped(loop.weights),
        step=observed,
    )
    # Of the first window that is not the beginning of the sequence.
    before = before[:, : time - steps]
    later = _in_windows(loop, before, steps)
    _, after = newest(loop, steps)
    return ops.concatenate([outputs, later], axis=1), after


MODES: dict[str, Callable[[Loop, int, Any], Result]] = {
    "blocks": blocks,
    "sliding": sliding,
    "randomized": randomized,
}


def whole(loop: Loop) -> Result:
    """Run through the sequence, all of it with gradients."""
    keep = loop.layer.return_sequences
    outputs, after = loop.run(loop.inputs, loop.carry, loop.weights, keep=keep)
    return (outputs if keep else None), after


def newest(loop: Loop, steps: int) -> Result:
    """Run through the sequence, the newest steps alone with gradients."""
    _, carry = loop.run(
        ops.stop_gradient(loop.inputs[:, :-steps]),
        stopped(loop.carry),
        stopped(loop.weights),
        keep=False,
    )
    inputs = loop.inputs[:, -steps:]
    _, after = loop.run(inputs, stopped(carry), loop.weights, keep=False)
    return None, after


def _with_factors(
    loop: Loop, passes: Tensor, factor: float, size: int
) -> Result:
    """Multiply the gradient before each step but the first.

    Args:
        loop: of the layer.
        passes: whether it passes, `(time,)`.
        factor: of a gradient that passes.
        size: steps of a part that is computed twice.
    """

    def step(inputs: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        factors = factor * inputs[..., -1:]
        return loop.step(inputs[..., :-1], [scaled(x, factors) for x in carry])

    # `factor` is undone before the first step.
    first = ops.arange(passes.shape[0]) == 0
    dtype = loop.inputs.dtype
    passes = ops.where(first, 1 / factor, ops.cast(passes, dtype))
    shape = ops.shape(loop.inputs)[:2]
    inputs = with_feature(loop.inputs, ops.broadcast_to(passes, shape))
    return _in_parts(loop, inputs, size, step)


def _in_parts(
    loop: Loop, inputs: Tensor, size: int, step: Any, border: float = 1.0
) -> Result:
    """Run through the sequence by parts, whose steps are computed twice.

    Args:
        loop: of the layer.
        inputs: of the sequence.
        size: of a part; the first one may be shorter.
        step: of the loop.
        border: factor of the gradients of the carry between parts. One of 0
            is a product too, for a part waits for it: TensorFlow would compute
            all parts at once again if they had nothing to wait for.
    """
    keep, count = loop.layer.return_sequences, len(loop.carry)

    def part(*tensors: Tensor) -> list[Tensor]:
        inputs, *rest = tensors
        carry, weights = rest[:count], rest[count:]
        outputs, after = loop.run(inputs, carry, weights, step=step, keep=keep)
        return [outputs, *after]

    def turn(inputs: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        *carry, begun = carry
        factor = 1 - (1 - border) * begun
        carry = [scaled(x, factor) for x in carry]
        outputs, *after = keras.remat(part)(inputs, *carry, *loop.weights)
        return outputs, [*after, ops.ones_like(begun)]

    time, carry, found = inputs.shape[1], loop.carry, []
    first = time % size
    begun = ops.full((1, 1), float(first > 0), inputs.dtype)
    if first:
        one, *carry = part(inputs[:, :first], *carry, *loop.weights)
        found.append(one)
    if first < time:
        batch, features = ops.shape(inputs)[0], inputs.shape[-1]
        shape = (batch, time // size, size, features)
        parts = ops.reshape(inputs[:, first:], shape)
        rest, (*carry, _) = loop.run(
            parts, [*carry, begun], loop.weights, step=turn, keep=keep
        )
        if keep:
            size = rest.shape[-1]
            found.append(ops.reshape(rest, (batch, time - first, size)))
    if not keep:
        return None, carry
    return ops.concatenate(found, axis=1) if found[1:] else found[0], carry


def _in_windows(loop: Loop, before: Tensor, steps: int) -> Tensor:
    """Return the last output of each window that other steps precede.

    Args:
        loop: of the layer.
        before: the carries before these windows, `(batch, windows, size)`.
        steps: of a window.

    Returns:
        Tensor `(batch, windows, features)`.
    """
    batch, windows = ops.shape(before)[0], before.shape[1]
    together = max(1, int(_SHARE * loop.inputs.shape[1]) // steps)
    turns = -(-windows // together)
    # By time, and so many that the last turn is as large as the others.
    missing = turns * together - windows
    before, inputs = (
        ops.pad(ops.swapaxes(x, 0, 1), ((0, missing), (0, 0), (0, 0)))
        for x in (before, loop.inputs[:, 1:])
    )
    ends = np.cumsum([x.shape[-1] for x in loop.carry])[:-1].tolist()
    window = np.arange(together)[:, None] + np.arange(steps)

    def outputs_of(inputs: Tensor, carry: Tensor, *weights: Tensor) -> Tensor:
        parts = ops.take(inputs, window, axis=0)  # (windows, steps, batch, ..)
        parts = ops.transpose(parts, (0, 2, 1, 3))
        parts = ops.reshape(parts, (-1, steps, inputs.shape[-1]))
        carry = ops.reshape(carry, (-1, carry.shape[-1]))
        carries = ops.split(carry, ends, axis=-1)
        _, after = loop.run(
            parts, carries, weights, keep=False, copies=together
        )
        return ops.reshape(after[-1], (together, batch, -1))

    def turn(number: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        first = ops.cast(number[0, 0], "int32") * together
        given = ops.take(
            inputs, first + np.arange(together + steps - 1), axis=0
        )
        states = ops.take(before, first + np.arange(together), axis=0)
        return keras.remat(outputs_of)(given, states, *loop.weights), carry

    numbers = ops.arange(turns, dtype="float32")[None, :, None]
    found, _ = loop.run(numbers, [ops.zeros((1, 1))], loop.weights, step=turn)
    # (windows of a turn, turns, batch, features)
    found = ops.transpose(found, (2, 1, 0, 3))
    shape = (batch, turns * together, loop.carry[-1].shape[-1])
    return ops.reshape(found, shape)[:, :windows]
