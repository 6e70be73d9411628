"""A model as a folder that runs without kbp."""

import os
from pathlib import Path

from kbp._utils.files import new_folder, write_atomically
from kbp.deploy.deployable import Deployable
from kbp.deploy.registry import TARGETS
from kbp.errors import UserError


def deploy(
    model: str | Path,
    target: str,
    out: str | Path,
    *,
    node_modules: str | Path | None = None,
) -> Path:
    """Write a folder that runs a model somewhere else, without kbp.

    Args:
        model: a zoo entry, a run's folder or a .tflite file.
        target: where it is to run: `"python"`, `"web"`, `"micro"`,
            `"android"`, `"ios"`, or what is registered besides; `"entry"`
            writes an entry of the zoo.
        out: the folder, which must not exist.
        node_modules: npm's folder of packages for the target `"web"`, by
            default `$KBP_NODE_MODULES` or `node_modules`.

    Returns:
        The folder.

    Raises:
        UserError: there is no such model or target, the model does not run
            there, a package is missing, or the folder exists. Nothing is
            written then.

    Example:
    >>> import pathlib, tempfile, kbp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     out = kbp.deploy.deploy(
    ...         "pyramid_bpnet_small.digits", "python", f"{folder}/app"
    ...     )
    ...     "predict.py" in [path.name for path in out.iterdir()]
    True
    """
    out = Path(out)
    if os.path.lexists(out):
        raise UserError(f"{out}: exists. Choose another name.")
    make = TARGETS[target]
    given = None if node_modules is None else Path(node_modules)
    contents = make(Deployable.open(str(model), given))
    with new_folder(out) as folder:
        for name, content in contents.items():
            write_atomically(folder / name, content)
    return out
