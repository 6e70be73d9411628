"""Benchmarks whose published results are one file."""

import abc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kbp._utils.files import write_atomically
from kbp.benchmarks.core.pages import check_checkout
from kbp.benchmarks.core.registry import RESULTS, Benchmark
from kbp.errors import UserError


class PublishedFile(Benchmark):
    """A benchmark whose results are lines of one file."""

    @property
    def published(self) -> Path:
        """The file of the published results."""
        return RESULTS / self.file_name

    @property
    def file_name(self) -> str:
        """The usual name of a file of results."""
        return f"{self.name.replace('-', '_')}.jsonl"

    @abc.abstractmethod
    def read(self, file: Path) -> Any:
        """Return the results in a file: a sequence, empty without any."""

    @abc.abstractmethod
    def table(self) -> str:
        """Return the published results as Markdown."""

    def publish(self, name: str, source: Path) -> list[Path]:
        if not any(self.read(source)):
            raise UserError(f"{source}: missing. Run the benchmark first.")
        check_checkout()
        if source.resolve() != self.published.resolve():
            write_atomically(self.published, source.read_text())
        return [self.published]

    def tables(self) -> dict[str, Callable[[], str]]:
        return {self.name: self.table}
