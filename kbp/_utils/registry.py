"""Tables of named things that each file adds its own row to."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from kbp._utils import plugins
from kbp._utils.config import shown
from kbp.errors import UserError, nearest

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Registry(Generic[T]):
    """Objects by name, among them those of modules that are not imported yet.

    The first lookup imports every module of the packages, and what is installed
    as a plugin, so no table lists what there is.

    Args:
        key: of a recipe that holds such a name, for messages.
        *packages: names of the packages whose modules register objects.

    Example:
    >>> from kbp._utils.registry import Registry
    >>> colors = Registry("paint.color")
    >>> colors.add("red", (255, 0, 0))
    >>> colors["red"]
    (255, 0, 0)
    >>> colors["rad"]
    Traceback (most recent call last):
    kbp.errors.UserError: paint.color: unknown 'rad'; did you mean 'red'? ...
    """

    def __init__(self, key: str, *packages: str):
        self.key = key
        self._packages = packages
        self._objects: dict[str, T] = {}
        self._families: dict[str, Callable[[str], T]] = {}
        self._origins: dict[str, object] = {}
        self._complete = False

    def add(self, name: str, item: T, *, origin: object = None) -> None:
        """Add an object.

        Args:
            name: that stands for it.
            item: the object.
            origin: the function or class that it was made of, by default
                itself. The same definition may be run again, as in a notebook.

        Raises:
            UserError: the name is not a word, or stands for another object.
        """
        if not isinstance(name, str) or not name.isidentifier():
            raise UserError(
                f"{self.key}: a name must be a word of letters, digits and "
                f"underscores; received {name!r}"
            )
        origin = item if origin is None else origin
        if _place(self._origins.get(name, origin)) != _place(origin):
            raise UserError(
                f"{self.key}: {name!r} is registered already, by "
                f"{'.'.join(_place(self._origins[name]))}"
            )
        self._objects[name], self._origins[name] = item, origin

    def add_family(self, prefix: str, find: Callable[[str], T]) -> None:
        """Add objects that are made when they are asked for.

        Args:
            prefix: their names are `"<prefix>:<member>"`.
            find: `find(member)` returns an object, or raises a `UserError`.
        """
        self._families[prefix] = find

    def __getitem__(self, name: str) -> T:
        """Return an object by its name.

        Raises:
            UserError: nothing has that name.
        """
        self._import_all()
        prefix, colon, member = name.partition(":")
        if colon and prefix in self._families:
            return self._families[prefix](member)
        if name not in self._objects:
            known = [*self._objects, *(f"{x}:NAME" for x in self._families)]
            raise UserError(
                f"{self.key}: unknown {shown(name)}{nearest(name, known)} "
                "(what is in a module of your own needs --import MODULE)"
            )
        return self._objects[name]

    def __contains__(self, name: object) -> bool:
        self._import_all()
        return name in self._objects

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in alphabetical order."""
        self._import_all()
        return iter(sorted(self._objects))

    def _import_all(self) -> None:
        if self._complete:
            return
        # Set first: a module may look something up while it is imported.
        self._complete = True
        try:
            for name in self._packages:
                package = importlib.import_module(name)
                for module in pkgutil.iter_modules(package.__path__):
                    importlib.import_module(f"{name}.{module.name}")
            plugins.load_installed()
        except BaseException:
            self._complete = False
            raise


def _place(item: object) -> tuple[str, str]:
    """Return where a function or class is defined; of another its identity."""
    module = getattr(item, "__module__", None)
    name = getattr(item, "__qualname__", None)
    if module is None or name is None:
        return type(item).__name__, repr(item)
    return module, name
