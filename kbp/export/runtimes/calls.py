"""Calls of LiteRT's interpreter."""

from collections.abc import Sequence
from typing import Any

from kbp.export.runtimes.registry import Arrays


def outputs_of(interpreter: Any, calls: Sequence[Arrays]) -> list[Arrays]:
    """Return the outputs of each call.

    Args:
        interpreter: LiteRT's, of `allocate`.
        calls: inputs, in the file's types.
    """
    inputs = interpreter.get_input_details()
    outputs = interpreter.get_output_details()
    found: list[Arrays] = []
    for call in calls:
        for x, details in zip(call, inputs, strict=True):
            interpreter.set_tensor(details["index"], x)
        interpreter.invoke()
        found.append([interpreter.get_tensor(x["index"]) for x in outputs])
    return found
