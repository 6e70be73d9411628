"""Times of operations that were measured on this machine before."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kbp._utils.files import make_folder, write_atomically
from kbp._utils.machine import in_words, machine, versions
from kbp.errors import UserError
from kbp.export.latency.times import OperationTimes


class Cache:
    """What was measured on this machine, as a file of JSON.

    Args:
        folder: of the files, one for each machine, LiteRT and number of
            threads; `None` keeps nothing.
        num_threads: of XNNPACK.
    """

    def __init__(self, folder: str | Path | None, num_threads: int):
        self.machine = {
            **machine(),
            "litert": versions()["ai-edge-litert"],
            "num_threads": num_threads,
        }
        self.path: Path | None = None
        self.known: dict[str, Any] = {}
        if folder is None:
            return
        told = json.dumps(self.machine, sort_keys=True)
        name = hashlib.sha256(told.encode()).hexdigest()[:16]
        self.path = Path(folder).expanduser() / f"{name}.json"
        if self.path.is_file():
            self.known = self._read(self.path)

    def __contains__(self, signature: str) -> bool:
        return signature in self.known

    def __getitem__(self, signature: str) -> OperationTimes:
        return OperationTimes.from_json(self.known[signature])

    def update(self, found: Mapping[str, OperationTimes]) -> None:
        """Keep what was measured."""
        for signature, times in found.items():
            self.known[signature] = dataclasses.asdict(times)
        if found and self.path is not None:
            make_folder(self.path.parent)
            content = {"machine": self.machine, "operations": self.known}
            write_atomically(self.path, json.dumps(content))

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            content = json.loads(path.read_text())
            found, known = content["machine"], content["operations"]
            said = f"{in_words(found)}, LiteRT {found['litert']}"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path}: holds no measured operations. Delete it."
            ) from error
        if found != self.machine:
            raise UserError(
                f"{path}: measured on another machine, {said}. Delete it."
            )
        return known
