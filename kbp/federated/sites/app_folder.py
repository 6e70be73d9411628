"""A recipe as a folder that Flower runs on several machines."""

import importlib.util
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from string import Template

from kbp._utils import plugins
from kbp._utils.config import to_toml
from kbp._utils.files import check_place, write_together
from kbp.data.registry import DATASETS
from kbp.errors import UserError
from kbp.federated.sites.place import paths_of
from kbp.recipes.recipe import Recipe

_TEMPLATES = Path(__file__).with_name("templates")
_LONGEST_NAME = 32  # as Flower has it
# Modules that the folder has itself, and those that Flower does not send.
_OTHERS = re.compile(r"client|server|kbp|test_.*|.*_test")
# What the two programs are for, and what follows in them.
_PROGRAMS = {
    "server": "The server, which `flwr run` starts; see README.md.",
    "client": "A client, which Flower starts at each site; see README.md.",
}
_CODE = '''\
"""{about}"""

from pathlib import Path

import kbp
{imports}
recipe = kbp.recipes.Recipe.read(Path(__file__).with_name("recipe.toml"))
app = kbp.federated.{name}_app(recipe)
'''


def write_app(
    recipe: Recipe,
    folder: str | Path,
    *,
    workdir: str | Path,
    data_dir: str | Path | None = None,
    imports: Iterable[str] | None = None,
) -> Path:
    """Write a Flower App that trains a recipe by clients on other machines.

    The folder holds the recipe, the two programs that Flower starts and a
    README.md with the commands for the server and for each site. A node's
    configuration holds `partition-id`, the client's number, and `data-dir`,
    where the data set lies there and relative paths of `[data]` begin. By
    `federated.partition` clients have parts of one data set, or with "own" each
    has all of its own.

    Args:
        recipe: with a section `[federated]`.
        folder: of the app; files of an older one are replaced.
        workdir: the run's folder on the server's machine, and
        data_dir: that of its data set; both as seen from where
            `flower-superlink` is started.
        imports: modules of your own that the recipe needs, by default those
            that `--import` has named. Those of the current folder are copied;
            packages must be installed on every machine.

    Returns:
        The folder.

    Raises:
        UserError: the recipe has no clients, or names its data by an absolute
            path where each site has its own, or shares them out by a list; a
            module is missing or has a name that is taken; or the disk does not
            take the files.

    Example:
    >>> import kbp, tempfile
    >>> settings = ["federated.clients=2", "training.epochs=1"]
    >>> recipe = kbp.recipes.Recipe.parse({}).with_settings(settings)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     app = kbp.federated.write_app(
    ...         recipe, folder, workdir="runs/ours", imports=()
    ...     )
    ...     sorted(path.name for path in app.iterdir())
    ['README.md', 'client.py', 'pyproject.toml', 'recipe.toml', 'server.py']
    """
    if not recipe.federated.clients:
        raise UserError("the recipe has no clients: set federated.clients")
    if recipe.federated.partition == "listed":
        raise UserError(
            'federated.partition = "listed" is for clients of one process, as '
            'sites do not have the list; take "own" or "pattern"'
        )
    check_paths(recipe)
    modules = [*(plugins.imported if imports is None else imports)]
    folder, name = Path(folder), app_name(recipe)
    check_place(folder / "pyproject.toml")
    files = {"recipe.toml": recipe.to_toml()}
    for module in modules:
        files |= _copied(module)
    lines = "".join(f"import {module}  # noqa: F401\n" for module in modules)
    for program, about in _PROGRAMS.items():
        files[f"{program}.py"] = _CODE.format(
            about=about, imports=lines, name=program
        )
    files["pyproject.toml"] = _filled(
        "app.toml",
        name=to_toml(name),
        license=to_toml(recipe.export.license or "not stated"),
        workdir=to_toml(str(workdir)),
        data_dir=to_toml(str(data_dir or "")),
    )
    files["README.md"] = _filled(
        "README.md",
        name=name,
        clients=recipe.federated.clients,
        last=recipe.federated.clients - 1,
        folder=folder.name or folder.resolve().name,
        workdir=workdir,
        data=_about_data(recipe),
    )
    write_together({folder / path: text for path, text in files.items()})
    return folder


def check_paths(recipe: Recipe) -> None:
    """Refuse data that would be the same at all sites, if each has its own."""
    if recipe.federated.partition != "own":
        return
    paths = paths_of(recipe)
    if not paths and not DATASETS[recipe.data.name].in_data_dir:
        raise UserError(
            'federated.partition = "own" needs data in files, which each site '
            f"has; {recipe.data.name} is the same everywhere"
        )
    for key, path in paths.items():
        if Path(path).is_absolute():
            raise UserError(
                f'data.{key} must be relative with federated.partition = "own",'
                f" as each site has it in its own data-dir; received {path}"
            )


def app_name(recipe: Recipe) -> str:
    """Return a name that Flower takes: of letters, digits and hyphens.

    Example:
    >>> app_name(Recipe.parse({}))
    'pyramid-bpnet-digits'
    """
    whole = f"{recipe.model.architecture}-{recipe.data.name}".lower()
    name = re.sub("[^a-z0-9]+", "-", whole).strip("-")
    return name[:_LONGEST_NAME].strip("-")


def _about_data(recipe: Recipe) -> str:
    """Return what must lie at each site."""
    if recipe.federated.partition == "own":
        return (
            "Each site has a data set of its own, of the same classes or "
            "columns: all of it is its client's."
        )
    how = to_toml(recipe.federated.partition)
    return (
        "Every machine has the whole data set, and each client takes its part "
        f"of it (`federated.partition = {how}`)."
    )


def _filled(file: str, /, **values: object) -> str:
    """Return the text of a template."""
    text = (_TEMPLATES / file).read_text(encoding="utf-8")
    return Template(text).substitute(values)


def _copied(module: str) -> dict[str, str]:
    """Return the file of a module of the current folder; none if installed."""
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None:
        raise UserError(f"module {module}: is not found from here")
    path = Path(found.origin)
    if path.parent.resolve() != Path.cwd() or path.suffix != ".py":
        return {}
    if _OTHERS.fullmatch(module) or module in sys.stdlib_module_names:
        raise UserError(
            f"module {module}: a Flower App has another of that name, or "
            "leaves it out; rename it"
        )
    return {f"{module}.py": path.read_text(encoding="utf-8")}
