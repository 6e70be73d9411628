"""Facts about the machine and the process."""

import fresh
import pytest

from kbp._utils.machine import dot_products

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


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "flags\t: fpu avx2 avx512_vnni amx_int8\n",
            ["avx512_vnni", "amx_int8"],
        ),
        ("flags\t\t: fpu avx2 avx512f\nbugs\t: avx_vnni\n", []),
        ("Features\t: fp asimd asimddp\n", ["asimddp"]),
    ],
)
def test_dot_products_are_those_of_the_flags(tmp_path, text, found):
    file = tmp_path / "cpuinfo"
    assert dot_products(file) == []
    file.write_text(text)
    assert dot_products(file) == found
