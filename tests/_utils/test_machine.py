"""Facts about the machine and the process."""

import ctypes

import fresh
import pytest

from kbp._utils.machine import caches, instruction_sets

CHILD = "from kbp._utils.machine import peak_memory; print(peak_memory())"
PARENT = f"""
import subprocess, sys
held = bytearray(800_000_000)
held[::4096] = b"1" * len(held[::4096])
print(subprocess.check_output([sys.executable, "-c", {CHILD!r}], text=True))
"""


@pytest.mark.long
def test_peak_memory_is_that_of_the_process_alone():
    own = int(fresh.python(CHILD))
    assert 5e6 < own < 4e8
    assert int(fresh.python(PARENT)) < 4e8


def test_large_blocks_go_back_to_the_system():
    text = """
import ctypes, sys
from kbp._utils.machine import return_large_blocks
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
if sys.argv[1:]:
    return_large_blocks()
libc.free(libc.malloc(30_000_000))  # from here on glibc keeps such blocks
blocks = [libc.malloc(8_000_000) for _ in range(20)]
for block in blocks:
    ctypes.memset(block, 1, 8_000_000)
for block in blocks[:-1]:
    libc.free(block)
lines = open("/proc/self/status").read().splitlines()
print(next(x.split()[1] for x in lines if x.startswith("RssAnon")))
"""
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("mallopt is glibc's")
    kept, returned = (
        int(fresh.python(text, *words)) for words in ((), ("return",))
    )
    assert returned < kept - 100_000


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "flags\t: fpu avx2 avx512_vnni amx_int8\n",
            ["AVX2", "AVX-512 VNNI", "AMX"],
        ),
        ("flags\t\t: fpu avx2 avx512f\nbugs\t: avx_vnni\n", ["AVX2"]),
        ("Features\t: fp asimd asimddp\n", ["NEON", "Arm dotprod"]),
        ("flags : fpu\n", []),
        ("bugs : avx2\n", None),
    ],
)
def test_instruction_sets_are_those_of_the_flags(tmp_path, text, found):
    file = tmp_path / "cpuinfo"
    assert instruction_sets(file) is None
    file.write_text(text)
    assert instruction_sets(file) == found


def test_caches_are_named_by_level_and_kind(tmp_path):
    assert caches(tmp_path) == {}
    for number, text in enumerate(
        ("1 Data 48K", "1 Instruction 32K", "2 Unified 2M")
    ):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        names = ("level", "type", "size")
        for name, fact in zip(names, text.split(), strict=True):
            (folder / name).write_text(fact + "\n")
    (tmp_path / "index3").mkdir()  # says nothing
    assert caches(tmp_path) == {"L1d": "48K", "L1i": "32K", "L2": "2M"}
