"""The cards of the zoo's entries: what each is, and what it reaches.

What depends on the kind of task or data is looked up here and nowhere else in
the benchmarks.
"""

from typing import Any

from kbp import zoo
from kbp.data.datasets import ett, isbi2012
from kbp.inference.loading import open_model
from kbp.recipes import Recipe
from kbp.reports.stage import FORMATS

# What models of a kind of data take, and what they give.
_MEANINGS = {
    "images": ("images in [0, 1]", "logits"),
    "image_masks": ("images in [0, 1]", "logits of each pixel"),
    "csv_series": ("rows of values in any units", "the rows after them"),
}

_CARD = """# {name}

{architecture} on the data set `{data}`{fold}, from the first step to 8 bits by

    python train.py {name}{data_dir}

{table}

Architecture: [{architecture}.py](../../kbp/models/{architecture}.py); data,
their source and splits: [{module}.py](../../kbp/data/{module}.py); all
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


def format_score(metric: str, score: float) -> str:
    """Return a score as the tasks of its metric write it."""
    return FORMATS[metric].format(score)


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
        takes, gives = _MEANINGS[entry.recipe.data.kind]
        shapes = {
            "takes": takes,
            "inputs": _shape(inputs),
            "gives": gives,
            "outputs": _shape(outputs),
        }
    return card.format(
        **shapes,
        **_data_words(entry.recipe),
        name=entry.name,
        architecture=entry.recipe.model.architecture,
        table=table,
    )


def _data_words(recipe: Recipe) -> dict[str, str]:
    """Return what a card says of a recipe's data set."""
    section: Any = recipe.data
    name, fold = section.name, ""
    if name == "isbi2012":
        fold = f", fold {section.fold} of {isbi2012.FOLDS}"
    return {
        "data": name,
        "fold": fold,
        "module": "ett" if name in ett.ROWS_OF_AN_HOUR else name,
        # scikit-learn brings the digits.
        "data_dir": " --data-dir DIR" * (name != "digits"),
    }


def _shape(sizes):
    return f"({', '.join(['batch', *map(str, sizes)])})"
