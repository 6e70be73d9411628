"""Facts about the machine and the process."""

import fresh

CHILD = "from kbp._utils.machine import peak_memory; print(peak_memory())"
PARENT = f"""
import subprocess, sys
held = bytearray(800_000_000)
held[::4096] = b"1" * len(held[::4096])
print(subprocess.check_output([sys.executable, "-c", {CHILD!r}], text=True))
"""


def test_peak_memory_is_that_of_the_process_alone():
    own = int(fresh.python(CHILD))
    assert 5e6 < own < 4e8
    assert int(fresh.python(PARENT)) < 4e8
