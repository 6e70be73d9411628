"""An entry of the zoo, for a hub or a folder that `$KBP_ZOO` names."""

from pathlib import Path

from kbp import zoo
from kbp._utils.run_files import RECIPE
from kbp.deploy.deployable import Deployable
from kbp.deploy.reading import readme
from kbp.deploy.registry import Contents, register_target
from kbp.errors import UserError
from kbp.training.workdir import read_run

_NOTES = """\
This folder is an entry of kbp's zoo. `hf upload USER/REPOSITORY .` (which comes
with huggingface_hub) puts it on the Hugging Face hub, where its name is
`hf://USER/REPOSITORY`. On a disk, set `KBP_ZOO` to the folder that holds this
one; its name there is this folder's.

`recipe.toml` says how the model was trained, and has the paths of the data in
it. `SHA256SUMS` is for the files as they are: write the entry again if one
changes."""


@register_target("entry")
def entry(model: Deployable) -> Contents:
    """Return a folder with a recipe, its models, known outputs and sums.

    Raises:
        UserError: the model is no file of a finished run in eight bits.
    """
    run = model.path.parent
    if (read_run(run) or {}).get("status") != "finished":
        raise UserError(
            f"{model.path}: an entry is made of the folder of a finished run."
        )
    made = zoo.Entry(model.name, Path())
    files = zoo.as_published(made, zoo.contents_of(made, run))
    return {
        **{path.name: content for path, content in files.items()},
        RECIPE: (run / RECIPE).read_bytes(),
        "README.md": readme(
            model,
            f"python -m kbp predict . {_GIVEN[model.kind]} --out predicted",
            "python -c \"import kbp; kbp.zoo.load('hf://USER/REPOSITORY')\"",
            notes=_NOTES,
        ),
    }


_GIVEN = {
    "classes": "image.png",
    "masks": "image.png",
    "series": "series.csv",
    "table": "rows.csv",
}
