"""Processor time of starting the command line and importing kbp."""

import resource
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

import kbp
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance, rounds
from kbp.benchmarks.core.registry import register
from kbp.errors import UserError

# Words after `python`.
CASES = {
    "help": ("-m", "kbp", "--help"),
    "version": ("-m", "kbp", "--version"),
    "list": ("-m", "kbp", "list"),
    "import": ("-c", "import kbp"),
}


def measure(case: str, rounds: int) -> dict:
    """Measure the processor time of fresh processes, one after the other.

    Args:
        case: one of `CASES`.
        rounds: number of processes that count; one before them fills the
            caches of files and of compiled modules.

    Returns:
        `command`; `seconds`, the median of the processor time of user and
        system; `quartiles`, in seconds; and `rounds`.

    Raises:
        UserError: a process failed.
    """
    taken = [processor_seconds(CASES[case]) for _ in range(rounds + 1)][1:]
    return {
        "command": shlex.join(["python", *CASES[case]]),
        "seconds": statistics.median(taken),
        "quartiles": np.percentile(taken, (25, 75)).tolist(),
        "rounds": rounds,
    }


def processor_seconds(words: tuple[str, ...]) -> float:
    """Run Python, and return the processor time of the process in seconds.

    Args:
        words: of the command line.

    Raises:
        UserError: its status is not 0; with the last line that it wrote.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        cwd=Path(kbp.__file__).parent.parent,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2]
        raise UserError(
            f"`python {' '.join(words)}` ended with status {done.returncode}: "
            f"{said}"
        )
    user = after.ru_utime - before.ru_utime
    return user + after.ru_stime - before.ru_stime


def markdown_table(lines: list[dict]) -> str:
    """Return measured cases as Markdown: a table, and how it was measured."""
    return "\n".join(
        [
            *markdown.table(["command", "processor time"], map(_cells, lines)),
            "",
            "Processor time of user and system of a fresh process, median "
            f"(quartiles) of {rounds(lines)}. " + provenance(lines[0], lines),
        ]
    )


def _cells(line):
    low, high = line["quartiles"]
    time = f"{line['seconds']:.2f} s ({low:.2f} - {high:.2f})"
    return [f"`{line['command']}`", time]


STARTUP = register(
    Cases(
        name="startup",
        cases=CASES,
        measure=measure,
        show=lambda line: markdown.row(_cells(line)),
        markdown_table=markdown_table,
    )
)
