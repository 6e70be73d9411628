"""A trial run of a .tflite file in a process of its own."""

import subprocess
import sys
from pathlib import Path

from kbp.errors import UserError

_SECONDS = 120
_CODE = """
import sys
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1])
try:
    interpreter.allocate_tensors()
    interpreter.invoke()
except (RuntimeError, ValueError):
    pass  # said again, in a line, by who asked
"""


def try_out(path: str | Path) -> None:
    """Run a file from anybody once, where a crash ends another process.

    LiteRT verifies tables and kbp their numbers, yet options of operations that
    nobody checks can still end the process that runs them. This takes less
    than a second.

    Args:
        path: of a .tflite file that `Runner` opened or `audit` read.

    Raises:
        UserError: LiteRT crashed, or had not ended after two minutes.
    """
    command = [sys.executable, "-c", _CODE, str(Path(path).resolve())]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"{path}: LiteRT runs it for more than {_SECONDS} seconds."
        ) from error
    if done.returncode < 0:  # a signal
        raise UserError(
            f"{path}: is damaged: LiteRT crashes when it runs it (signal "
            f"{-done.returncode})."
        )
