"""The results of a race: each finished trial is a line of a file."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kbp._utils import files
from kbp._utils.machine import commit, in_words, machine, versions
from kbp.errors import UserError

_BEGIN = '{"protocol": '  # of the first line
_TITLES = {
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "tensorflow-model-optimization": "TFMOT",
    "ai-edge-litert": "LiteRT",
}


class Log:
    """The finished trials of a race, as lines of a file.

    Args:
        file: is read if it exists, and created otherwise.
        protocol: of the race, a dataclass.

    Attributes:
        head: the first line: protocol, machine and versions.
        results: the others.

    Raises:
        UserError: the file is of another protocol, or no such race's.
    """

    def __init__(self, file: Path, protocol: Any):
        self.file = Path(file)
        head, self.results = read_race(self.file, type(protocol))
        expected = json.loads(json.dumps(asdict(protocol)))
        now = circumstances()
        self.head = head or {
            "protocol": expected,
            "machine": now["machine"],
            "versions": now["versions"],
        }
        self._own = {k: x for k, x in now.items() if x != self.head.get(k)}
        if self.head["protocol"] != expected:
            raise UserError(f"{file}: holds a race of another protocol.")
        if self.file.is_file():
            files.cut_unfinished_line(self.file)
        if head is None:
            append_line(self.file, self.head)

    def add(self, result: dict) -> None:
        """Append a result with its commit, and what differs from the head's.

        That is its machine, and its versions.
        """
        result = {**result, **self._own}
        self.results.append(result)
        append_line(self.file, result)


def circumstances() -> dict[str, Any]:
    """Return the machine, versions and commit that figures depend on.

    They are asked for once, when a run begins: the checkout may go on while
    the code that was imported stays.
    """
    return {"machine": machine(), "versions": versions(), "commit": commit()}


def find(results: list[dict], trial: Any) -> dict | None:
    """Return the result of a trial, a dataclass, if it has one."""
    key = asdict(trial).items()
    return next((result for result in results if key <= result.items()), None)


def find_all(results: list[dict], trials: Iterable) -> list[dict]:
    """Return the results of those of the trials that have one."""
    found = (find(results, trial) for trial in trials)
    return [result for result in found if result is not None]


def complete(results: list[dict], trials: Iterable) -> dict[tuple, list[dict]]:
    """Return the results of trials of which every seed has run.

    Args:
        results: of a race.
        trials: dataclasses, which end with `seed` and `split`.

    Returns:
        For each combination of the other fields' values, in the trials' order,
        the results of its seeds.
    """
    groups: dict[tuple, list] = {}
    for trial in trials:
        *key, _, _ = asdict(trial).values()
        groups.setdefault(tuple(key), []).append(find(results, trial))
    return {key: runs for key, runs in groups.items() if None not in runs}


def read_race(file: Path, protocol: type) -> tuple[dict | None, list[dict]]:
    """Return the head and the results of a race's file.

    A line that a stopped process left unfinished does not count.

    Args:
        file: to read; where there is none, or no whole line, the head is
            `None`.
        protocol: the dataclass of the race's protocol.

    Raises:
        UserError: the file is no such race's.
    """
    if not file.is_file():
        return None, []
    names = {field.name for field in dataclasses.fields(protocol)}
    try:
        text = file.read_text()
        if "\n" not in text and _BEGIN.startswith(text[: len(_BEGIN)]):
            return None, []
        whole, _, _ = text.rpartition("\n")
        head, *results = [json.loads(line) for line in whole.splitlines()]
        if head["protocol"].keys() == names:
            return head, results
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise UserError(f"{file}: is no race of this kind.")


def append_line(file: Path, line: dict) -> None:
    """Append a line of JSON to a file."""
    files.append_line(file, json.dumps(line))


def provenance(head: dict, results: Iterable[dict]) -> str:
    """Return a table's last sentence: machines, versions and commits.

    Args:
        head: what holds `machine` and `versions`.
        results: each with its `commit`, and with its `machine` and `versions`
            if they are others.
    """
    results = [*results]
    known = [x["versions"] for x in (head, *results) if "versions" in x]
    named = [
        f"{title} {' and '.join(dict.fromkeys(x[package] for x in known))}"
        for package, title in _TITLES.items()
    ]
    places = sorted({str(x["commit"]) for x in results if "commit" in x})
    return (
        f"{machines(head, results)}, {', '.join(named)}, kbp at "
        f"{', '.join(places)}."
    )


def rounds(lines: Iterable[dict]) -> str:
    """Return how many rounds measured lines have, or from how few to most.

    Example:
    >>> from kbp.benchmarks.core.log import rounds
    >>> rounds([{"rounds": 9}, {"rounds": 30}, {"rounds": 15}])
    '9 to 30'
    """
    found = sorted({line["rounds"] for line in lines})
    return " to ".join(map(str, dict.fromkeys(found[:1] + found[-1:])))


def machines(head: dict, results: Iterable[dict]) -> str:
    """Return what a race ran on, in words.

    Args:
        head: what holds `machine`.
        results: each with its `machine` if it is another.
    """
    found = [in_words(x["machine"]) for x in (head, *results) if "machine" in x]
    return " and ".join(dict.fromkeys(found))
