"""The cards of the zoo's entries: what each is, and what it reaches."""

from kbp import zoo
from kbp.benchmarks.runtimes.cases import card_table
from kbp.data.registry import DATASETS
from kbp.inference.loading import open_model
from kbp.recipes import Recipe
from kbp.tasks.registry import TASKS

_CARD = """# {name}

{architecture} on the data set `{data}`{fold}, from the first step to 8 bits by

    python train.py {name}{data_dir}

{table}

Architecture: [{architecture}.py](../../kbp/models/{architecture}.py); data,
their source and splits: [{file}](../../{folder}/{file}); all
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

_RUNTIMES = """
Other [runtimes](../../docs/runtimes.md) against LiteRT with XNNPACK at one
thread: shares of the int8 file's outputs, the largest difference in steps, and
of the operations that are computed differently the first and the one that
differs most:

{runtimes}
"""


def render_card(entry: zoo.Entry, table: str) -> str:
    """Return the model card of an entry.

    Args:
        entry: of the zoo.
        table: of its results, as Markdown.
    """
    card, shapes = _CARD, {}
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
    runtimes = card_table(entry.name)
    if runtimes:
        card += _RUNTIMES
    return card.format(
        **shapes,
        **_data_words(entry.recipe),
        name=entry.name,
        architecture=entry.recipe.model.architecture,
        table=table,
        runtimes=runtimes,
    )


def _data_words(recipe: Recipe) -> dict[str, str]:
    """Return what a card says of a recipe's data set."""
    section = recipe.data
    dataset = DATASETS[section.name]
    note = dataset.note(section.config)
    *folders, module = dataset.module.split(".")
    return {
        "data": section.name,
        "fold": f", {note}" if note else "",
        "folder": "/".join(folders),
        "file": f"{module}.py",
        "data_dir": " --data-dir DIR" * dataset.in_data_dir,
    }


def _shape(sizes):
    return f"({', '.join(['batch', *map(str, sizes)])})"
