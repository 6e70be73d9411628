"""Modules of a person's own, which register what kbp does not have."""

import functools
import importlib
import importlib.metadata
import os
import sys

from kbp.errors import UserError

GROUP = "kbp.plugins"
imported: list[str] = []  # to be imported by processes that are started too


def import_module(name: str) -> None:
    """Import a module, from the current folder or from what is installed.

    Args:
        name: of the module, with dots if it lies in a package.

    Raises:
        UserError: there is no such module, or it fails.
    """
    if name.startswith("."):
        raise UserError(
            f"module {name}: must be named in full, with its packages"
        )
    folder = os.getcwd()
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)  # last: a file there hides no installed module
    importlib.invalidate_caches()
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:  # it may raise any
        raise UserError(f"module {name}: {_reason(error)}") from error
    imported.append(name)


@functools.cache
def load_installed() -> None:
    """Import the modules that installed packages name as plugins of kbp.

    They are the entry points of the group `kbp.plugins`.

    Raises:
        UserError: one fails.
    """
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            entry.load()
        except (Exception, SystemExit) as error:  # it may raise any
            raise UserError(
                f"plugin {entry.name} ({entry.value}): {_reason(error)}"
            ) from error


def _reason(error: BaseException) -> str:
    """Return an error in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError) and text.endswith("package"):
        return f"{text}; a module is named without its suffix .py"
    if isinstance(error, UserError | ModuleNotFoundError):
        return text
    return f"cannot be imported: {type(error).__name__}: {text}"
