"""Runs a .tflite file.

Use: measure.py FILE INPUT.npy OUTPUT.npy ARENA

It is a process of its own, since TensorFlow Lite Micro may crash. What it used
of the arena is said on standard error.
"""

import sys
from pathlib import Path

import numpy as np


def main(file: str, taken: str, given: str, arena: str) -> None:
    """Write the output of an input.

    Args:
        file: a .tflite file.
        taken: file of the input.
        given: file for the output.
        arena: its size, in bytes.
    """
    # An extra, which is looked for before this runs.
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(
        Path(file).read_bytes(), arena_size=int(arena)
    )
    interpreter.set_input(np.load(taken), 0)
    interpreter.invoke()
    np.save(given, interpreter.get_output(0))
    interpreter.print_allocations()


if __name__ == "__main__":
    main(*sys.argv[1:])
