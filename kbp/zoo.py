"""The entries of the model zoo."""

from dataclasses import dataclass
from pathlib import Path

from kbp.errors import UserError, nearest
from kbp.training import Recipe

DEFAULT = "pyramid_bpnet_small.digits"


@dataclass(frozen=True)
class Entry:
    """One entry of the zoo, `<architecture>_<size>.<data>`.

    Attributes:
        name: the entry's name.
        path: its folder.
    """

    name: str
    path: Path

    @property
    def recipe(self) -> Recipe:
        """What the entry was trained with."""
        return Recipe.read(self.path / "recipe.toml")


def root() -> Path:
    """Return the folder of the zoo: the checkout's, or the wheel's."""
    package = Path(__file__).parent
    installed = package / "_zoo"
    return installed if installed.is_dir() else package.parent / "models"


def entries() -> list[Entry]:
    """List the entries of the zoo by name.

    Example:
    >>> import kbp.zoo
    >>> [entry.name for entry in kbp.zoo.entries()][-1]
    'pyramid_bpnet_small.digits'
    """
    return [
        Entry(path.parent.name, path.parent)
        for path in sorted(root().glob("*/recipe.toml"))
    ]


def find(name: str) -> Entry:
    """Return an entry by its name.

    Raises:
        UserError: there is no such entry.
    """
    known = {entry.name: entry for entry in entries()}
    if name not in known:
        raise UserError(f"unknown zoo entry {name!r}{nearest(name, known)}")
    return known[name]
