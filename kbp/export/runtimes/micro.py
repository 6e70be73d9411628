"""TFLite Micro, the runtime of microcontrollers."""

import importlib.util
import io
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kbp.errors import UserError
from kbp.export.interpreter import read_tflite
from kbp.export.parsing import items_of, parse, size_of
from kbp.export.runtimes.reasons import reason_of
from kbp.export.runtimes.registry import Arrays

_STEP = 16  # bytes, to which arenas are aligned
_SPARE = 2**22
_SECONDS = 600
_USED = re.compile(r"Arena allocation total (\d+) bytes")
# Without the current folder, whose files may be named as modules are.
_COMMAND = ("-P", "-c")
_CODE = """
import io, sys
import numpy as np
from tflite_micro.python.tflite_micro import runtime
size, calls, inputs, outputs = map(int, sys.argv[1:])
given = np.load(io.BytesIO(sys.stdin.buffer.read()))
interpreter = runtime.Interpreter.from_bytes(
    given["content"].tobytes(), arena_size=size)
found = {}
for call in range(calls):
    for i in range(inputs):
        interpreter.set_input(given[f"{call}.{i}"], i)
    interpreter.invoke()
    for i in range(outputs):
        found[f"{call}.{i}"] = interpreter.get_output(i)
interpreter.print_allocations()
content = io.BytesIO()
np.savez(content, **found)
sys.stdout.buffer.write(content.getvalue())
"""


@dataclass(frozen=True)
class MicroRun:
    """What TFLite Micro gave.

    Attributes:
        outputs: of each call, in the file's types.
        used: bytes of the arena; to plan takes a little more.
    """

    outputs: list[Arrays]
    used: int


def missing() -> str | None:
    """Say why TFLite Micro cannot run here, `None` if it can."""
    if importlib.util.find_spec("tflite_micro") is None:
        return "TFLite Micro is not installed: pip install 'kbp[micro]'"
    return None


def run(
    content: bytes, calls: Sequence[Arrays], size: int | None = None
) -> MicroRun:
    """Run a file in a process of its own, since TFLite Micro may crash.

    Args:
        content: of the file.
        calls: inputs of each call, in the file's types.
        size: of the arena in bytes, by default more than enough.

    Raises:
        UserError: TFLite Micro is not installed, or does not run the file.
    """
    if reason := missing():
        raise UserError(reason)
    tree = parse(content)
    outputs = len(items_of(tree.subgraphs[0].outputs))
    size = size or _SPARE + 8 * size_of(tree)
    arrays: dict[str, Any] = {
        f"{number}.{i}": x
        for number, call in enumerate(calls)
        for i, x in enumerate(call)
    }
    given = io.BytesIO()
    arrays["content"] = np.frombuffer(content, np.uint8)
    np.savez(given, **arrays)
    words = (size, len(calls), len(calls[0]), outputs)
    try:
        done = subprocess.run(
            [sys.executable, *_COMMAND, _CODE, *map(str, words)],
            input=given.getvalue(),
            capture_output=True,
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"TFLite Micro runs the file for more than {_SECONDS} seconds."
        ) from error
    said = done.stderr.decode(errors="replace")
    used = _USED.search(said)
    if done.returncode or not used:
        words_said = said.partition("Traceback")[0] or said
        reason = reason_of(content, words_said) or f"status {done.returncode}"
        raise UserError(f"TFLite Micro does not run the file: {reason}")
    found = np.load(io.BytesIO(done.stdout))
    return MicroRun(
        [
            [found[f"{n}.{i}"] for i in range(outputs)]
            for n in range(len(calls))
        ],
        int(used[1]),
    )


def arena_size(model: str | Path | bytes) -> int:
    """Return the bytes of memory that TFLite Micro needs to run a file.

    It is the smallest arena that the file runs in.

    Args:
        model: path of the .tflite file, or its content.

    Raises:
        FileNotFoundError: the file does not exist.
        UserError: TFLite Micro is not installed or does not run the file.

    Example:
    >>> arena_size("no.tflite")
    Traceback (most recent call last):
        ...
    FileNotFoundError: no.tflite: no such file.
    """
    content = model if isinstance(model, bytes) else read_tflite(model)
    try:
        used = run(content, [[]]).used
    except UserError as error:
        if isinstance(model, bytes):
            raise
        raise UserError(f"{model}: {error}") from error
    # Planning may take more than is used then: look for how much more.
    low, high, more = used // _STEP - 1, -(-used // _STEP), 1
    while not _runs(content, high):
        low, high, more = high, high + more, 2 * more
    while high - low > 1:
        middle = (low + high) // 2
        if _runs(content, middle):
            high = middle
        else:
            low = middle
    return high * _STEP


def _runs(content: bytes, steps: int) -> bool:
    """Say whether a file that runs does so in a small arena."""
    try:
        run(content, [[]], steps * _STEP)
    except UserError:
        return False
    return True
