"""The registry of benchmarks: each folder of `kbp.benchmarks` has one."""

import abc
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

import kbp.benchmarks
from kbp._utils import plugins
from kbp.errors import check_known

RESULTS = Path(__file__).parent.parent / "results"
CORE = "core"  # the folder that holds no benchmark
_registered: dict[str, "Benchmark"] = {}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the command line; a benchmark uses those that concern it.

    Attributes:
        console: receives progress and tables.
        read_recipe: `read_recipe(name) -> (recipe, short name)`.
        results: the file of results, by default one in `runs/`.
        workdir: the folder of runs, by default one in `runs/`.
        data_dir: the folder of data sets that are read from files.
        workers: number of trials that run at the same time.
        rounds: number of rounds in which latencies are measured.
        seeds: number of runs of a recipe.
        again: whether to measure latencies that are known.
    """

    console: Console
    read_recipe: Callable[[str], tuple[Any, str]]
    results: str | None = None
    workdir: str | None = None
    data_dir: str | None = None
    workers: int = 1
    rounds: int = 30
    seeds: int = 5
    again: bool = False


class Benchmark(abc.ABC):
    """Something that measures, keeps its results and makes tables of them.

    Attributes:
        name: the folder's name, with hyphens instead of underscores.
    """

    name: str

    @abc.abstractmethod
    def start(self, names: Sequence[str], options: Options) -> None:
        """Run the benchmark from the command line.

        Args:
            names: what to measure; by default everything.
            options: of the command line.

        Raises:
            UserError: a name is unknown, or the results are another
                benchmark's.
        """

    @abc.abstractmethod
    def publish(self, name: str, source: Path) -> list[Path]:
        """Copy results into kbp.

        Args:
            name: under which they are published.
            source: the file or the folder that holds them.

        Returns:
            The files that were written.

        Raises:
            UserError: there are no such results.
        """

    @abc.abstractmethod
    def tables(self) -> dict[str, Callable[[], str]]:
        """Return functions that make the published tables, by name."""

    def headline_row(self) -> list[str] | None:
        """Return the published results in one row, if they have a headline."""
        return None

    def write_figures(self) -> list[Path]:
        """Write what is made of the published results beside the tables.

        Returns:
            The files that were written.
        """
        return []


B = TypeVar("B", bound=Benchmark)


def register(benchmark: B) -> B:
    """Add a benchmark to the registry.

    Returns:
        The benchmark.

    Raises:
        ValueError: the name is taken.
    """
    if benchmark.name in _registered:
        raise ValueError(
            "Argument `benchmark` must have a new name. Received: "
            f"name={benchmark.name!r}"
        )
    _registered[benchmark.name] = benchmark
    return benchmark


def names() -> list[str]:
    """Return the names of all benchmarks; only plugins are imported."""
    plugins.load_installed()
    return [*dict.fromkeys([*_folders(), *_registered])]


def find(name: str) -> Benchmark:
    """Return a benchmark, after importing the modules of its folder.

    Raises:
        UserError: there is no such benchmark.
        ValueError: the folder registers no benchmark of its name.
    """
    check_known("benchmark", [name], names())
    if name in _registered:
        return _registered[name]
    folder = f"{kbp.benchmarks.__name__}.{_folders()[name]}"
    package = importlib.import_module(folder)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{folder}.{module.name}")
    if name not in _registered:
        raise ValueError(
            f"{folder} must register a benchmark. Received: name={name!r}"
        )
    return _registered[name]


def benchmarks() -> list[Benchmark]:
    """Import and return all benchmarks."""
    return [find(name) for name in names()]


def _folders():
    """Return the folders of benchmarks by the benchmarks' names."""
    return {
        module.name.replace("_", "-"): module.name
        for module in pkgutil.iter_modules(kbp.benchmarks.__path__)
        if module.ispkg and module.name != CORE
    }
