"""Facts that a measurement depends on: versions, commit, machine."""

import contextlib
import ctypes
import importlib.metadata
import os
import platform
import resource
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kbp

PACKAGES = (
    "tensorflow",
    "keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "numpy",
)
# What matters to inference, by Linux's names of it, the widest last.
INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "amx_int8": "AMX",
    "asimd": "NEON",
    "asimddp": "Arm dotprod",
    "i8mm": "Arm i8mm",
}
# Those that multiply and add numbers of 8 bits in one step.
DOT_PRODUCTS = {*INSTRUCTION_SETS.values()} - {"AVX2", "NEON"}
_CPU = "/proc/cpuinfo"
_MMAP_THRESHOLD, _LARGE = -3, 2**22  # of mallopt; bytes
_CACHES = "/sys/devices/system/cpu/cpu0/cache"


def versions() -> dict[str, str]:
    """Return the versions of kbp, Python and `PACKAGES`."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "kbp": kbp.__version__,
        "python": platform.python_version(),
        **found,
    }


def commit() -> str | None:
    """Return the commit of the checkout that kbp runs from, if it is one.

    A plus sign at its end marks a checkout with changes.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", Path(kbp.__file__).parent, *arguments],
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()

    try:
        if not git("ls-files", "__init__.py"):
            return None  # an installation inside another project's checkout
        revision = git("rev-parse", "--short=12", "HEAD")
        return revision + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def machine() -> dict[str, Any]:
    """Return what of the machine decides how fast it computes.

    Returns:
        The processor's name, the number of cores, the names of its
        `instruction_sets`, `None` if unknown, and the sizes of its `caches`, of
        one core.
    """
    names = _fields(_CPU, "model name")
    return {
        "processor": names[0]
        if names
        else platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "instruction_sets": instruction_sets(),
        "caches": caches(),
    }


def instruction_sets(cpuinfo: str | Path = _CPU) -> list[str] | None:
    """Return which of `INSTRUCTION_SETS` the processor has.

    Args:
        cpuinfo: file with the processor's flags. Only Linux has one; without
            it they are unknown, `None`.
    """
    flags = _fields(cpuinfo, "flags", "Features")
    if not flags:
        return None
    known = {flag for line in flags for flag in line.split()}
    return [text for name, text in INSTRUCTION_SETS.items() if name in known]


def caches(folder: str | Path = _CACHES) -> dict[str, str]:
    """Return the sizes of a core's caches, such as `{"L2": "2048K"}`.

    Args:
        folder: where Linux lists them; without it there are none.
    """
    found = {}
    for path in sorted(Path(folder).glob("index*")):
        try:
            level, kind, size = (
                (path / name).read_text().strip()
                for name in ("level", "type", "size")
            )
        except OSError:
            continue
        letter = "" if kind == "Unified" else kind[0].lower()
        found[f"L{level}{letter}"] = size
    return found


def sets_in_words(machine: Mapping[str, Any]) -> str:
    """Return the instruction sets of a machine as text.

    Args:
        machine: as `machine` returns it, or an older record without them.

    Example:
    >>> sets_in_words({"instruction_sets": ["AVX2", "AVX-512 VNNI"]})
    'AVX2, AVX-512 VNNI'
    >>> sets_in_words({"processor": "a"})
    'instruction sets unknown'
    """
    names = machine.get("instruction_sets")
    if names is None:
        return "instruction sets unknown"
    return ", ".join(names) or "no wide instructions"


def in_words(machine: Mapping[str, Any]) -> str:
    """Return a machine's cores, processor and instruction sets as text.

    Example:
    >>> found = {"processor": "a", "cores": 2, "instruction_sets": ["AVX2"]}
    >>> in_words(found)
    '2 cores (a; AVX2)'
    """
    return (
        f"{machine['cores']} cores ({machine['processor']}; "
        f"{sets_in_words(machine)})"
    )


def _fields(file: str | Path, *names: str) -> list[str]:
    """Return what stands behind names in a file of `name: value` lines."""
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return []
    pairs = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in pairs if name.strip() in names]


def memory() -> int:
    """Return the bytes of memory that this process may use.

    They are the machine's, or fewer if it runs in a container that has less.
    """
    own = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return own
    return min(own, int(limit)) if limit.isdecimal() else own


def return_large_blocks() -> None:
    """Let the system get back what large arrays took as soon as they are freed.

    glibc keeps blocks of up to 32 MB for the thread that had them, once some of
    their size were freed: of a training with 16 MB for the outputs of a layer
    a tenth of a gigabyte. Elsewhere nothing changes.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)


def peak_memory() -> int:
    """Return the largest resident size of this process, in bytes."""
    try:
        # `getrusage` counts what the process that started this one held.
        lines = Path("/proc/self/status").read_text().splitlines()
        (line,) = (x for x in lines if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
