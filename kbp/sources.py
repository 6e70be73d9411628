"""What a person means by a name: a zoo entry, a run's folder or a file."""

from pathlib import Path
from typing import TYPE_CHECKING

from kbp import zoo
from kbp._utils.run_files import INT8, MODEL

# Keras and what needs it are imported where a model is opened.
if TYPE_CHECKING:
    from kbp.recipes import Recipe


def is_entry(name: str) -> bool:
    """Say whether a name is one of the zoo, and no file's or folder's."""
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
    return loading.files_of(Path(name))


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
