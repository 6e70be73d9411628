"""TFLite Micro, the runtime of microcontrollers."""

import importlib.util
import subprocess
import sys
from pathlib import Path

from kbp.errors import UserError
from kbp.export.interpreter import read_tflite
from kbp.export.parsing import parse, size_of

_STEP = 16  # bytes, to which arenas are aligned
_LEAST = 1 << 20
_COMMAND = ("-P", "-c")
_CODE = """
import sys
from tflite_micro.python.tflite_micro import runtime
content = sys.stdin.buffer.read()
runtime.Interpreter.from_bytes(content, arena_size=int(sys.argv[1])).invoke()
"""


def missing() -> str | None:
    """Say why TFLite Micro cannot run here, `None` if it can."""
    if importlib.util.find_spec("tflite_micro") is None:
        return "TFLite Micro is not installed: pip install kbp[micro]"
    return None


def arena_size(path: str | Path) -> int:
    """Return the bytes of memory that TFLite Micro needs to run a file.

    The smallest arena that the file runs in, found by halving. Each trial has
    a process of its own, because TFLite Micro crashes where the arena is too
    small.

    Args:
        path: path of the .tflite file.

    Raises:
        FileNotFoundError: the file does not exist.
        UserError: TFLite Micro is not installed or does not run the file.

    Example:
    >>> arena_size("no.tflite")
    Traceback (most recent call last):
        ...
    FileNotFoundError: no.tflite: no such file.
    """
    content = read_tflite(path)
    if reason := missing():
        raise UserError(reason)
    most = _LEAST + 8 * size_of(parse(content, f"{path}: the .tflite file"))
    if reason := _refusal(content, most):
        raise UserError(f"{path}: TFLite Micro does not run it: {reason}")
    low, high = 0, -(-most // _STEP)
    while high - low > 1:
        middle = (low + high) // 2
        if _refusal(content, middle * _STEP):
            low = middle
        else:
            high = middle
    return high * _STEP


def _refusal(content: bytes, size: int) -> str:
    """Say why a file does not run in an arena, `""` if it does."""
    done = subprocess.run(
        [sys.executable, *_COMMAND, _CODE, str(size)],
        input=content,
        capture_output=True,
        check=False,
    )
    if not done.returncode:
        return ""
    lines = done.stderr.decode(errors="replace").splitlines()
    return lines[0] if lines else f"status {done.returncode}"
