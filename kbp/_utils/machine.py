"""Facts that a measurement depends on: versions, commit, machine."""

import importlib.metadata
import os
import platform
import resource
import subprocess
from pathlib import Path

import kbp

PACKAGES = (
    "tensorflow",
    "keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "numpy",
)
# As Linux names them, on Intel's, AMD's and Arm's processors.
DOT_PRODUCTS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")


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


def machine() -> dict[str, str | int]:
    """Return the processor's name and the number of cores."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [x.split(":")[1] for x in lines if x.startswith("model name")]
        model = names[0].strip() if names else model
    except OSError:
        pass
    return {"processor": model, "cores": os.cpu_count() or 1}


def dot_products(cpuinfo: str | Path = "/proc/cpuinfo") -> list[str]:
    """Return which instructions for 8-bit dot products the processor has.

    Args:
        cpuinfo: file with the processor's flags. Only Linux has one.
    """
    try:
        lines = Path(cpuinfo).read_text().splitlines()
    except OSError:
        return []
    named = [x for x in lines if x.startswith(("flags", "Features"))]
    flags = {flag for line in named for flag in line.partition(":")[2].split()}
    return [name for name in DOT_PRODUCTS if name in flags]


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


def peak_memory() -> int:
    """Return the largest resident size of this process, in bytes."""
    try:
        # `getrusage` counts what the process that started this one held.
        lines = Path("/proc/self/status").read_text().splitlines()
        (line,) = (x for x in lines if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
