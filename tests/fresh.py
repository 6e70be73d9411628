"""Running Python in a fresh process."""

import os
import subprocess
import sys
from pathlib import Path

import kbp

ROOT = Path(__file__).parent.parent
PACKAGE = Path(kbp.__file__).parent  # the installed one, if it is installed
SELDOM = "import gc; gc.set_threshold(50_000, 10, 10)"  # as in conftest.py
WARNINGS = ("-W", "error", "-W", "ignore:__array__ implementation")


def python(code: str, *arguments, cwd=ROOT, **environment) -> str:
    """Run code in a new interpreter and return what it prints."""
    result = subprocess.run(
        [
            sys.executable,
            *WARNINGS,
            "-c",
            f"{SELDOM}\n{code}",
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=_environment(environment),
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def command(*arguments, cwd=ROOT, **environment):
    """Run a command of Python and return the finished process."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=_environment(environment),
        timeout=600,
        stdin=subprocess.DEVNULL,
    )


def _environment(extra):
    path = os.pathsep.join(
        [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    # JAX would look for a TPU, and take libtpu from who compiles with it.
    quiet = {"COLUMNS": "120", "JAX_PLATFORMS": "cpu"}
    return {**os.environ, **quiet, "PYTHONPATH": path, **extra}
