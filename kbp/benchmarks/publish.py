"""Tables of the zoo, the cards and the README, made from results.json."""

import json
import shutil
from pathlib import Path

from kbp import zoo
from kbp.benchmarks.recipe_race import markdown_table, without_seed
from kbp.errors import UserError
from kbp.export.files import write_atomically
from kbp.training import Recipe

BEGIN, END = "<!-- table: {} -->", "<!-- end of table -->"

_CARD = """# {name}

{architecture} on the data set `{data}`. Trained, pruned, quantized and exported
by

    python train.py {name}

{table}

Architecture: [{architecture}.py](../../kbp/models/{architecture}.py). Figures:
`python -m kbp benchmark recipe {name}`.
"""


def publish(name: str, race: Path) -> list[Path]:
    """Take the results of a race into the zoo, and renew every table.

    Args:
        name: the zoo entry that was raced.
        race: the race's folder, with `results.json`.

    Returns:
        The files that were written.

    Raises:
        UserError: there is no such entry, no results in the folder, or kbp
            does not run from a checkout.
    """
    entry = zoo.find(name)
    source = Path(race) / "results.json"
    if not source.is_file():
        raise UserError(f"{source}: missing. Finish the race first.")
    raced = json.loads(source.read_text())["recipe"]
    raced = without_seed(Recipe.parse(raced).to_dict())
    if raced != without_seed(entry.recipe.to_dict()):
        raise UserError(f"{source}: is of another recipe than {name}'s.")
    for page in pages():
        if not page.is_file():
            raise UserError(f"{page}: missing. Publish from a checkout.")
    target = entry.path / "results.json"
    shutil.copyfile(source, target)
    return [target, *write_tables()]


def write_tables() -> list[Path]:
    """Write the cards, and the tables of the two READMEs."""
    written = []
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
    return _CARD.format(
        name=entry.name,
        architecture=entry.recipe.model.architecture,
        data=entry.recipe.data.name,
        table=markdown_table(results),
    )


def render_page(page: str) -> str:
    """Return a page with the table of each of its marks made anew."""
    for entry in zoo.entries():
        results = results_of(entry)
        if results is not None and BEGIN.format(entry.name) in page:
            page = insert(page, entry.name, markdown_table(results))
    if BEGIN.format("zoo") in page:
        page = insert(page, "zoo", _zoo_table())
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


def _zoo_table():
    lines = [
        "| entry | accuracy, trained | accuracy, int8 | zeros | int8 file | "
        "speed-up | runs |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for entry in zoo.entries():
        results = results_of(entry)
        if results is None:
            continue
        first, last = results["stages"][0], results["stages"][-1]
        cells = (
            f"[{entry.name}]({entry.name}/README.md)",
            _spread(first["accuracy"]),
            _spread(last["accuracy"]),
            f"{results['kernel_sparsity']:.0%}",
            f"{last['file_size']['median'] / 1e3:.0f} kB",
            f"{last['speed_up']['median']:.2f}x",
            str(results["runs"]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(figure):
    return f"{figure['mean']:.2%} ± {figure['deviation']:.2%}"
