"""Measurements of separate cases, each a line of a file."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from kbp._utils.files import cut_unfinished_line
from kbp.benchmarks.core.log import append_line, circumstances
from kbp.benchmarks.core.published import PublishedFile
from kbp.benchmarks.core.registry import Options
from kbp.errors import UserError, check_known

_BEGIN = '{"case": '  # of each line


@dataclass(frozen=True, kw_only=True)
class Cases(PublishedFile):
    """A benchmark that measures one case after the other.

    Attributes:
        name: of the benchmark.
        cases: what there is to measure, by name; none if that is open.
        measure: `measure(name, rounds) -> figures`, a dict that JSON can hold.
        show: `show(line)` returns what the console prints of a measured case.
        markdown_table: `markdown_table(lines)` returns a table as Markdown.
        kind: what an error calls a case.
    """

    name: str
    cases: Mapping[str, Any]
    measure: Callable[[str, int], dict]
    show: Callable[[dict], RenderableType]
    markdown_table: Callable[[list[dict]], str]
    kind: str = "case"

    def run(
        self,
        file: Path,
        *,
        names: Iterable[str] = (),
        rounds: int = 30,
        console: Console | None = None,
    ) -> list[dict]:
        """Measure cases one by one, and append a line for each to a file.

        A case that cannot be measured does not keep the others from it.

        Args:
            file: JSON lines.
            names: of the cases, by default all.
            rounds: of each measurement.
            console: receives the figures.

        Returns:
            The lines.

        Raises:
            UserError: a name is unknown, the file holds something else, or a
                case could not be measured.
        """
        names, lines, errors = list(names or self.cases), [], []
        own = circumstances()
        check_known(self.kind, names, self.cases)
        if file.is_file():
            self.read(file)  # refuses what is not a benchmark's
            cut_unfinished_line(file)
        for name in names:
            try:
                figures = self.measure(name, rounds)
            except UserError as error:
                errors.append(str(error))
                continue
            line = {"case": name, **figures, **own}
            append_line(file, line)
            lines.append(line)
            if console is not None:
                console.print(self.show(line), markup=False, highlight=False)
        if errors:
            raise UserError("; ".join(errors))
        return lines

    def read(self, file: Path) -> list[dict]:
        """Return a file's newest line of each case, none without a file.

        A case that was renamed or removed since has none.

        Raises:
            UserError: the file holds something else.
        """
        if not file.is_file():
            return []
        try:
            # What a killed process left of its last line does not count.
            whole, _, last = file.read_text().rpartition("\n")
            if last[: len(_BEGIN)] != _BEGIN[: len(last)]:
                raise ValueError("the last line is none of a case")
            lines = [json.loads(line) for line in whole.splitlines()]
            newest = {line["case"]: line for line in lines}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file}: holds no measured cases.") from error
        known = self.cases or newest
        return [line for case, line in newest.items() if case in known]

    def start(self, names: Sequence[str], options: Options) -> None:
        file = Path(options.results or Path("runs") / self.file_name)
        self.run(
            file, names=names, rounds=options.rounds, console=options.console
        )

    def table(self) -> str:
        lines = self.read(self.published)
        if not lines:
            return "No figures have been published yet."
        return self.markdown_table(lines)
