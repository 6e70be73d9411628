"""Tables of the zoo, the cards and the README, made from results.json."""

import json
import shutil
import statistics
from functools import partial
from pathlib import Path

from kbp import zoo
from kbp._utils.files import write_atomically
from kbp.benchmarks.forecasting import race as forecasting_race
from kbp.benchmarks.forecasting import report as forecasting_report
from kbp.benchmarks.measurements import applications, distribution, step_time
from kbp.benchmarks.optimizers import race as optimizer_race
from kbp.benchmarks.optimizers import report as optimizer_report
from kbp.benchmarks.pruning import race as pruning_race
from kbp.benchmarks.pruning import report as pruning_report
from kbp.benchmarks.quantization import race as quantization_race
from kbp.benchmarks.quantization import report as quantization_report
from kbp.benchmarks.recipe.race import (
    markdown_table,
    run_folder,
    spread,
    without_seed,
)
from kbp.benchmarks.segmentation import race as segmentation_race
from kbp.benchmarks.segmentation import report as segmentation_report
from kbp.data.registry import DATASETS
from kbp.errors import UserError
from kbp.inference.loading import open_model
from kbp.recipes import Recipe
from kbp.tasks.registry import TASKS

BEGIN, END = "<!-- table: {} -->", "<!-- end of table -->"

# Races of trials, whose results are one file, and their reports.
RACES = {
    "optimizers": (optimizer_race, optimizer_report),
    "pruning": (pruning_race, pruning_report),
    "quantization": (quantization_race, quantization_report),
    "segmentation": (segmentation_race, segmentation_report),
    "forecasting": (forecasting_race, forecasting_report),
}
# What is measured case by case, a line each.
CASES = {
    "step-time": step_time,
    "applications": applications,
    "distribution": distribution,
}

_CARD = """# {name}

{architecture} on the data set `{data}`{fold}, from the first step to 8 bits by

    python train.py {name}{data_dir}

{table}

Architecture: [{architecture}.py](../../kbp/models/{architecture}.py); data,
their source and splits: [{module}.py](../../{path}.py); all
settings: [recipe.toml](recipe.toml). Figures:
`python -m kbp benchmark recipe {name}{data_dir}`.
"""

_WEIGHTS = """
The models here are those of the run whose int8 file has the median score. The
Keras model `kbp.zoo.load("{name}")` and the int8 file
`kbp.zoo.file("{name}")`
turn {takes} `{inputs}`
into {gives} `{outputs}`. What the file makes of test examples:

![Test examples and what the int8 file makes of them](predictions.svg)
"""


def publish(name: str, race: Path) -> list[Path]:
    """Take the results of a race into kbp, and renew every table.

    Args:
        name: the zoo entry that was raced, or one of `RACES` or `CASES`.
        race: the race's folder, with `results.json`, or its file.

    Returns:
        The files that were written.

    Raises:
        UserError: there is no such entry, no results in the folder, or kbp
            does not run from a checkout.
    """
    if name in (*RACES, *CASES):
        return _publish_file(name, Path(race))
    entry = zoo.find(name)
    source = Path(race) / "results.json"
    if not source.is_file():
        raise UserError(f"{source}: missing. Finish the race first.")
    results = json.loads(source.read_text())
    raced = without_seed(Recipe.parse(results["recipe"]).to_dict())
    if raced != without_seed(entry.recipe.to_dict()):
        raise UserError(f"{source}: is of another recipe than {name}'s.")
    _check_checkout()
    taken = zoo.take(entry, run_folder(Path(race), _median_seed(results)))
    target = entry.path / "results.json"
    shutil.copyfile(source, target)
    return [*taken, target, *write_tables()]


def _median_seed(results):
    """Return the seed whose int8 file has the median score."""
    scores = results["stages"][-1]["score"]["values"]
    return scores.index(statistics.median_low(scores))


def _publish_file(name, source):
    module = CASES[name] if name in CASES else RACES[name][0]
    if not any(module.read(source)):
        raise UserError(f"{source}: missing. Run the race first.")
    _check_checkout()
    if source.resolve() != module.RESULTS.resolve():
        write_atomically(module.RESULTS, source.read_text())
    return [module.RESULTS, *write_tables()]


def _check_checkout():
    for page in pages():
        if not page.is_file():
            raise UserError(f"{page}: missing. Publish from a checkout.")


def write_tables() -> list[Path]:
    """Write the cards, the plots, and the tables of the two READMEs."""
    written = []
    for race, report in RACES.values():
        head, results = race.read(race.RESULTS)
        if head is not None:
            path = race.RESULTS.with_suffix(".svg")
            plot = report.plot(head, results)
            written.append(write_atomically(path, plot))
    for entry in zoo.entries():
        results = results_of(entry)
        if results is not None:
            card = entry.path / "README.md"
            written.append(write_atomically(card, render_card(entry, results)))
    for page in pages():
        text = render_page(page.read_text())
        written.append(write_atomically(page, text))
    return written


def pages() -> list[Path]:
    """Return the pages that hold tables."""
    return [zoo.root().parent / "README.md", zoo.root() / "README.md"]


def results_of(entry: zoo.Entry) -> dict | None:
    """Return an entry's published results, if it has any."""
    path = entry.path / "results.json"
    return json.loads(path.read_text()) if path.is_file() else None


def render_card(entry: zoo.Entry, results: dict) -> str:
    """Return the model card of an entry."""
    card, shapes = _CARD, {}
    section = entry.recipe.data
    if entry.has_weights:
        card += _WEIGHTS
        _, inputs, outputs = open_model(zoo.file(entry.name))
        task = TASKS[entry.recipe.task.name]
        shapes = {
            "takes": task.takes,
            "inputs": _shape(inputs),
            "gives": task.gives,
            "outputs": _shape(outputs),
        }
    dataset = DATASETS[section.name]
    note = dataset.note(section.config)
    return card.format(
        **shapes,
        name=entry.name,
        architecture=entry.recipe.model.architecture,
        data=section.name,
        fold=f", {note}" if note else "",
        module=dataset.module.rpartition(".")[2],
        path=dataset.module.replace(".", "/"),
        data_dir=" --data-dir DIR" * dataset.in_data_dir,
        table=markdown_table(results),
    )


def _shape(sizes):
    return f"({', '.join(['batch', *map(str, sizes)])})"


def render_page(page: str) -> str:
    """Return a page with the table of each of its marks made anew."""
    for entry in zoo.entries():
        results = results_of(entry)
        if results is not None and BEGIN.format(entry.name) in page:
            page = insert(page, entry.name, markdown_table(results))
    tables = {
        "zoo": _zoo_table,
        **{name: partial(_case_table, CASES[name]) for name in CASES},
        **{name: partial(_race_table, *RACES[name]) for name in RACES},
    }
    for name, table in tables.items():
        if BEGIN.format(name) in page:
            page = insert(page, name, table())
    return page


def insert(page: str, name: str, table: str) -> str:
    """Replace what stands between a page's marks for a table.

    Raises:
        ValueError: the page has no such marks.
    """
    begin = BEGIN.format(name)
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise ValueError(f"The page has no place for the table {name!r}.")
    return f"{before}{begin}\n{table}\n{END}{after}"


def _race_table(race, report):
    head, results = race.read(race.RESULTS)
    if head is None:
        return "No race has been published yet."
    return report.markdown_table(head, results)


def _case_table(module):
    lines = module.read(module.RESULTS)
    if not lines:
        return "No figures have been published yet."
    return module.markdown_table(lines)


def _zoo_table():
    lines = [
        "| entry | metric | trained | int8 | zeros | int8 file | "
        "speed-up | runs |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for entry in zoo.entries():
        results = results_of(entry)
        if results is None:
            continue
        first, last = results["stages"][0], results["stages"][-1]
        cells = (
            f"[{entry.name}]({entry.name}/README.md)",
            results["metric"],
            spread(first["score"], results["metric"]),
            spread(last["score"], results["metric"]),
            f"{results['kernel_sparsity']:.0%}",
            f"{last['file_size']['median'] / 1e3:.0f} kB",
            f"{last['speed_up']['median']:.2f}x",
            str(results["runs"]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
