"""Races: competitors compared in trials under one protocol."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from kbp._utils.files import write_atomically
from kbp._utils.process.lock import locked
from kbp.benchmarks.core.headlines import Headline
from kbp.benchmarks.core.latencies import Files
from kbp.benchmarks.core.log import Log, machines, read_race
from kbp.benchmarks.core.pool import ONE_THREAD, environment, run, worker_pool
from kbp.benchmarks.core.published import PublishedFile
from kbp.benchmarks.core.registry import Options
from kbp.errors import UserError, check_known


@dataclass(frozen=True, kw_only=True)
class Race(PublishedFile):
    """A benchmark that compares competitors in trials under one protocol.

    A trial is a dataclass that names a competitor and says how it runs once.
    Each finished trial is a line of a file and does not run again, so a race
    can be stopped and continued at any time. If the trials export .tflite
    files, their latencies are measured at the end, when no trial runs.

    Attributes:
        name: of the benchmark.
        kind: what an error calls a competitor, such as "method".
        competitors: what is compared, by name.
        protocol: the dataclass of what all trials have in common.
        plan: `plan(names, protocol, results)` yields groups of trials of the
            named competitors. A group is asked for when the one before it has
            finished, and `results` then holds what it found.
        create: `create(protocol, data_dir) -> trainer` in each process, with
            the folder of the files as a third argument in a race with files;
            `trainer.run(trial)` returns the fields of the trial and figures.
        describe: `describe(result) -> line` for the console.
        markdown_table: `markdown_table(head, results)` returns the results as
            Markdown.
        plot: `plot(head, results)` returns a figure of them as SVG text.
        files: the .tflite files that trials export, if they do.
        environment: variables of the processes that run trials, where they are
            not set.
        headline: what the README says of it, on a page of the same name in
            `docs/results`.
    """

    name: str
    kind: str
    competitors: Mapping[str, Any]
    protocol: type
    plan: Callable[[list[str], Any, list[dict]], Iterable[Iterable]]
    create: Callable
    describe: Callable[[dict], str]
    markdown_table: Callable[[dict, list[dict]], str]
    plot: Callable[[dict, list[dict]], str]
    files: Files | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    headline: Headline | None = None

    def run(
        self,
        file: Path,
        *,
        protocol: Any = None,
        names: Iterable[str] = (),
        data_dir: str | Path | None = None,
        workers: int = 1,
        rounds: int = 30,
        again: bool = False,
        console: Console | None = None,
    ) -> list[dict]:
        """Run the trials that have no result yet, then time their files.

        Args:
            file: JSON lines; the first holds protocol, machine and versions.
                The .tflite files are beside it, see `folder_of`.
            protocol: what all trials have in common; by default that of the
                published results.
            names: of the competitors to run now, by default all.
            data_dir: the folder of the data sets.
            workers: number of trials at a time, each on one thread.
            rounds: of the measurement of latencies.
            again: whether to measure latencies that are known.
            console: receives progress.

        Returns:
            The trials and measurements, all that the file holds.

        Raises:
            UserError: a name is unknown, the file is of another protocol, or
                a data set, a package or a file to be timed is missing.
            RuntimeError: trials failed; those planned with them are logged.
        """
        protocol = protocol or self.protocol()
        names = list(names or self.competitors)
        check_known(self.kind, names, self.competitors)
        arguments: list[Any] = [protocol, data_dir]
        if self.files is not None:
            arguments.append(folder_of(file))
        # Missing data is reported here, and not by a worker.
        trainer = self.create(*arguments)
        unset = {
            k: x for k, x in self.environment.items() if k not in os.environ
        }
        with locked(file):
            log = Log(file, protocol)
            with (
                environment({**unset, **ONE_THREAD}),
                worker_pool(workers, self.create, *arguments) as pool,
            ):
                for trials in self.plan(names, protocol, log.results):
                    run(pool, log, trials, self.describe, console)
            if self.files is not None:
                self.files.measure(log, folder_of(file), trainer, rounds, again)
        return log.results

    def read(self, file: Path) -> tuple[dict | None, list[dict]]:
        """Return the head and the results of a file of this race.

        Raises:
            UserError: the file is none of this race.
        """
        return read_race(file, self.protocol)

    def start(self, names: Sequence[str], options: Options) -> None:
        file = Path(options.results or Path("runs") / self.file_name)
        plot = file.with_suffix(".svg")
        if plot.exists() and not file.exists():
            raise UserError(f"{plot}: exists, and would be overwritten.")
        self.run(
            file,
            names=names,
            data_dir=options.data_dir,
            workers=options.workers,
            rounds=options.rounds,
            again=options.again,
            console=options.console,
        )
        head, results = self.read(file)
        if head is not None:
            write_atomically(plot, self.plot(head, results))
            table = self.markdown_table(head, results)
            options.console.print(table, markup=False, highlight=False)

    def publish(self, name: str, source: Path) -> list[Path]:
        head, results = self.read(source)
        if head is not None and not results:
            raise UserError(f"{source}: holds no result. Run the race first.")
        try:
            self._headline_row(head, results)
        except ValueError as error:
            raise UserError(f"{source}: {error}. Finish the race.") from error
        return super().publish(name, source)

    def table(self) -> str:
        head, results = self.read(self.published)
        if head is None:
            return "No race has been published yet."
        return self.markdown_table(head, results)

    def headline_row(self) -> list[str] | None:
        return self._headline_row(*self.read(self.published))

    def _headline_row(
        self, head: dict | None, results: list[dict]
    ) -> list[str] | None:
        if head is None or self.headline is None:
            return None
        return [
            f"[{self.name}](docs/results/{self.name}.md)",
            *self.headline.cells(self.markdown_table(head, results)),
            str(head["protocol"]["seeds"]),
            machines(head, results),
        ]

    def write_figures(self) -> list[Path]:
        head, results = self.read(self.published)
        if head is None:
            return []
        path = self.published.with_suffix(".svg")
        return [write_atomically(path, self.plot(head, results))]


def folder_of(file: Path) -> Path:
    """Return the folder of the files that a race's trials export."""
    return Path(file).with_suffix(".files")
