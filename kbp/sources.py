"""What a person means by a name: a zoo entry, a run's folder or a file."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from kbp import hub, zoo
from kbp._utils.run_files import INT8, MODEL
from kbp.errors import UserError, nearest, similar

# Keras and what needs it are imported where a model is opened.
if TYPE_CHECKING:
    from kbp.export import Metadata
    from kbp.recipes import Recipe
    from kbp.tasks.prediction import OpenModel


def is_entry(name: str) -> bool:
    """Say whether a name is one of the zoo, and no file's or folder's."""
    if hub.is_name(name):
        return True
    return not Path(name).exists() and name in {e.name for e in zoo.entries()}


def find_models(name: str) -> list[Path]:
    """Return the model files of a zoo entry or a run, or the file itself.

    The last one is the int8 file if there is one.

    Raises:
        UserError: there are none.
    """
    from kbp.inference import loading

    if is_entry(name):
        return [zoo.file(name, which) for which in (MODEL, INT8)]
    if not Path(name).exists():
        names = [entry.name for entry in zoo.entries()]
        if similar(name, names):
            words = nearest(name, names)
            raise UserError(f"{name}: no such file or folder{words}")
    return loading.files_of(Path(name))


def find_tflite(name: str) -> Path:
    """Return the `.tflite` file of a model, the int8 one if there is one.

    Args:
        name: of a zoo entry, a run's folder or a file.

    Raises:
        UserError: there is none.
    """
    files = [x for x in find_models(name) if x.suffix == ".tflite"]
    if not files:
        raise UserError(
            f"{name}: holds no .tflite file; `kbp export` writes one."
        )
    return files[-1]


def find_recipe(name: str) -> "Recipe | None":
    """Return the recipe of a zoo entry or of a file's or folder's run, if any.

    Raises:
        UserError: the run is damaged.
    """
    from kbp.recipes import Recipe
    from kbp.training.workdir import read_run

    if is_entry(name):
        return zoo.find(name).recipe
    path = Path(name)
    run = read_run(path if path.is_dir() else path.parent)
    return Recipe.parse(run["recipe"]) if run else None


def recipe_of(model: "OpenModel", name: str) -> "Recipe | None":
    """Return the recipe of a model that predicts, if any.

    Of a file without a run, it is the one that the file itself names, if models
    of its task are like this one: a model of one's own may have other uses.

    Args:
        model: the opened file.
        name: that a person gave it.

    Raises:
        UserError: the run or the file's description is damaged.
    """
    from kbp.tasks.prediction import task_of

    recipe = find_recipe(name)
    if recipe or model.path.suffix != ".tflite":
        return recipe
    recipe = _named_in(model.metadata)
    if recipe and task_of(model, recipe).prediction.fits(
        model.inputs, model.outputs
    ):
        return recipe
    return None


def _named_in(metadata: "Metadata | None") -> "Recipe | None":
    """Return the recipe that a file says it was trained with, if it is known.

    It may name what another program has registered; then nothing is known.
    """
    from kbp.recipes import Recipe

    try:
        text = metadata.origin["recipe"] if metadata else ""
        return Recipe.parse(tomllib.loads(text)) if text else None
    except (AttributeError, KeyError, TypeError, UserError, ValueError):
        return None
