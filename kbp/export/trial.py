"""A trial run of a .tflite file in a process of its own."""

import hashlib
import os
import subprocess
import sys

from kbp.errors import UserError

_SECONDS = {False: 120, True: 600}  # reference kernels are slow
# Without the current folder, whose files may be named as modules are.
_COMMAND = ("-P", "-c")
_CODE = """
import resource, sys
most = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_DATA, (most, most))
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
kernels = OpResolverType.BUILTIN_REF if "reference" in sys.argv else (
    OpResolverType.AUTO)
try:
    interpreter = Interpreter(
        model_content=sys.stdin.buffer.read(),
        num_threads=1,
        experimental_op_resolver_type=kernels,
    )
    interpreter.allocate_tensors()
except Exception as error:
    print(error)
    sys.exit(3)
try:
    for x in interpreter.get_input_details():
        interpreter.set_tensor(x["index"], np.zeros(x["shape"], x["dtype"]))
    interpreter.invoke()
except Exception:
    pass  # other values may do
"""
_REFUSED = 3
_SPARE = 1_000_000_000  # bytes, for Python and what kernels need
# Digests of what ran well, or was made here, with the kernels that run it.
_trusted: set[tuple[str, bool]] = set()


def trust(content: bytes) -> None:
    """Remember that this process has made a file, which needs no trial.

    Args:
        content: of a .tflite file.
    """
    _trusted.update((_digest(content), kernels) for kernels in (False, True))


def try_out(
    content: bytes, name: str, *, size: int = 0, reference: bool = False
) -> None:
    """Run a file from anybody once, where a crash ends another process.

    LiteRT verifies tables and kbp their numbers, yet options of operations that
    nobody checks can still end the process that runs them. This takes a fifth
    of a second and a call of the file with zeros, once in a process for each
    content. What crashes for other inputs alone is not found.

    Args:
        content: of a .tflite file that `parse` has read.
        name: of the file, for messages.
        size: bytes of the tensors, as their shapes say. LiteRT works out shapes
            anew, and may ask for much more, which ends the trial.
        reference: whether LiteRT's reference kernels run instead of XNNPACK.

    Raises:
        UserError: LiteRT does not run the file, crashed, or had not ended after
            minutes.
    """
    key = _digest(content), reference
    if key in _trusted or not sys.executable:
        return
    most = _SPARE + 2 * size + 4 * len(content)
    words = [str(most), *(["reference"] if reference else [])]
    seconds = _SECONDS[reference]
    try:
        done = subprocess.run(
            [sys.executable, *_COMMAND, _CODE, *words],
            input=content,
            capture_output=True,
            timeout=seconds,
            check=False,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"{name}: LiteRT runs it for more than {seconds} seconds."
        ) from error
    if done.returncode == _REFUSED:
        reason = " ".join(done.stdout.decode(errors="replace").split())
        raise UserError(f"{name}: LiteRT does not run this file: {reason}")
    if done.returncode < 0:  # a signal
        raise UserError(
            f"{name}: is damaged: LiteRT crashes when it runs it (signal "
            f"{-done.returncode})."
        )
    _trusted.add(key)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
