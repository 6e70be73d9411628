"""A recipe trained with several seeds, and the zoo entries of such races."""

import hashlib
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from kbp import zoo
from kbp._utils import plugins
from kbp._utils.files import write_atomically, write_together
from kbp.benchmarks.core.pages import check_checkout
from kbp.benchmarks.core.registry import Benchmark, Options, register
from kbp.benchmarks.recipe import report
from kbp.benchmarks.recipe.cards import render_card
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.training.workdir import check_free, read_run

RECIPE_FILE = "race_recipe.toml"


class SeedsRace(Benchmark):
    """A recipe that runs with several seeds; its results are a zoo entry's.

    Other than in a `Race`, a trial is a whole run of `kbp train`, with a
    folder of its own.
    """

    name = "recipe"

    def run(
        self,
        recipe: Recipe,
        folder: Path,
        *,
        seeds: int = 5,
        data_dir: str | Path | None = None,
        console: Console | None = None,
    ) -> dict:
        """Run a recipe with `training.seed` 0, 1, ... and sum up the results.

        Each run has a process and a folder of its own and does not run again
        once it has finished, so a race can be stopped and continued at any
        time.

        Args:
            recipe: what to run.
            folder: of the runs and `results.json`.
            seeds: number of runs.
            data_dir: folder of the data sets that are read from files.
            console: receives the table.

        Returns:
            What `results.json` holds.

        Raises:
            UserError: the folder holds something else, or a run failed.
        """
        file = folder / RECIPE_FILE
        if not file.is_file():
            check_free(folder, "race")
            write_atomically(file, recipe.to_toml())
        elif Recipe.read(file) != recipe:
            raise UserError(f"{folder}: holds a race of another recipe.")
        runs = [
            _finished(file, seed, run_folder(folder, seed), data_dir)
            for seed in range(seeds)
        ]
        results = report.summarize(runs)
        write_atomically(
            folder / "results.json", json.dumps(results, indent=2) + "\n"
        )
        if console is not None:
            console.print(report.markdown_table(results), markup=False)
        return results

    def start(self, names: Sequence[str], options: Options) -> None:
        if len(names) != 1:
            raise UserError("benchmark recipe takes one recipe")
        recipe, short = options.read_recipe(names[0])
        self.run(
            recipe,
            Path(options.workdir or Path("runs") / f"{short}.seeds"),
            seeds=options.seeds,
            data_dir=options.data_dir,
            console=options.console,
        )

    def publish(self, name: str, source: Path) -> list[Path]:
        entry = zoo.find(name)
        file = source / "results.json"
        if not file.is_file():
            raise UserError(f"{file}: missing. Finish the race first.")
        results = report.read_results(file)
        raced = report.without_seed(Recipe.parse(results["recipe"]).to_dict())
        if raced != report.without_seed(entry.recipe.to_dict()):
            raise UserError(f"{file}: is of another recipe than {name}'s.")
        check_checkout()
        run = run_folder(source, _median_seed(results))
        contents = zoo.contents_of(entry, run)
        _check_finished(run, contents)
        contents = zoo.as_published(entry, contents)
        contents[entry.path / "results.json"] = file.read_bytes()
        return write_together(contents)

    def tables(self) -> dict[str, Callable[[], str]]:
        found = _published()
        tables: dict[str, Callable[[], str]] = {
            entry.name: partial(report.markdown_table, results)
            for entry, results in found
        }
        return tables | {"zoo": partial(report.zoo_table, found)}

    def write_figures(self) -> list[Path]:
        return [
            write_atomically(
                entry.path / "README.md",
                render_card(entry, report.markdown_table(results)),
            )
            for entry, results in _published()
        ]


def results_of(entry: zoo.Entry) -> dict | None:
    """Return an entry's published results, if it has any."""
    path = entry.path / "results.json"
    return report.read_results(path) if path.is_file() else None


def run_folder(folder: Path, seed: int) -> Path:
    """Return the folder of one of a race's runs."""
    return folder / f"seed{seed}"


def _check_finished(run: Path, contents: Mapping[Path, bytes]) -> None:
    """Raise a UserError for a run that goes on, or files that are not its."""
    record = read_run(run)
    if record is None or record["status"] != "finished":
        raise UserError(f"{run}: the run has not finished. Wait for its end.")
    known = record.get("files", {})
    for path, content in contents.items():
        found = hashlib.sha256(content).hexdigest()
        if found != known.get(path.name):
            raise UserError(
                f"{run / path.name}: changed since the run finished. Race into "
                "a new folder."
            )


def _published():
    """Return the entries of this zoo that have results, with these."""
    own = [e for e in zoo.entries() if (zoo.root() / e.name).is_dir()]
    found = [(entry, results_of(entry)) for entry in own]
    return [(entry, results) for entry, results in found if results is not None]


def _finished(recipe_file, seed, path, data_dir):
    """Return the record of a run, after running it where need be."""
    run = read_run(path)
    if run is None or run["status"] != "finished":
        _run(recipe_file, seed, path, data_dir)
        run = read_run(path)
    return run


def _run(recipe_file, seed, path, data_dir):
    # In a process of its own, so that time and memory are its own too.
    command = [sys.executable, "-m", "kbp", "train", recipe_file, "--resume"]
    command += ["--workdir", path, "--set", f"training.seed={seed}"]
    if data_dir is not None:
        command += ["--data-dir", data_dir]
    for module in plugins.imported:
        command += ["--import", module]
    status = subprocess.run([str(word) for word in command]).returncode
    if status:
        raise UserError(f"{path}: the run ended with status {status}.")


def _median_seed(results):
    """Return the seed whose int8 file has the median score."""
    scores = results["stages"][-1]["score"]["values"]
    return scores.index(statistics.median_low(scores))


RACE = register(SeedsRace())
