"""The error that a person's wrong input raises."""

import difflib
import os
from collections.abc import Iterable

TERMINATED = 143  # status of a process that was asked to end: 128 + SIGTERM
_SHOWN = 100  # names in a message


class UserError(ValueError):
    """A person's input is wrong; the message names the mistake in one line.

    The command line prints the message and exits with status 2.

    Example:
    >>> import kbp
    >>> from kbp.errors import UserError
    >>> try:
    ...     kbp.recipes.Recipe.parse({"training": {"epoch": 3}})
    ... except UserError as error:
    ...     print(error)
    unknown key training.epoch; did you mean 'epochs'?
    """


class BoundError(UserError):
    """A file does not keep a bound that a person set for it.

    The command line prints the message and exits with status 1.
    """


class Terminated(SystemExit):
    """The process was asked to end by SIGTERM, and all is saved.

    Where nobody catches it, the process ends with the status `TERMINATED`.

    Args:
        words: how to go on, for who asked.
    """

    def __init__(self, words: str = ""):
        super().__init__(TERMINATED)
        self.words = words

    def __str__(self) -> str:
        return self.words


def nearest(name: str, names: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"`, or the names if none is near.

    Of many names, the first ones and how many there are.

    Example:
    >>> nearest("trian", ["train", "export"])
    "; did you mean 'train'?"
    """
    names = sorted(names)
    if close := similar(name, names):
        return f"; did you mean {close!r}?"
    # A name may hold a comma.
    quoted = [repr(known) if "," in known else known for known in names]
    more = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    return f"; known: {', '.join(quoted[:_SHOWN])}{more}"


def similar(name: str, names: Iterable[str]) -> str | None:
    """Return the name that is spelled most like another, if any is like it.

    Example:
    >>> similar("Trian", ["train", "export"])
    'train'
    """
    spelled = {known.lower(): known for known in sorted(names, reverse=True)}
    close = difflib.get_close_matches(name.lower(), spelled, 1)
    return spelled[close[0]] if close else None


def looked_for(path: str | os.PathLike[str]) -> str:
    """Say where a path that a recipe names was looked for, if it is not plain.

    Example:
    >>> looked_for("~/load.csv")
    ' (~ and $ are no more than letters in a recipe: write the path in full)'
    >>> looked_for("load.csv")
    ' (looked for in ..., where the command runs)'
    >>> looked_for("/data/load.csv")
    ''
    """
    name = os.fspath(path)
    if name.startswith("~") or "$" in name:
        return (
            " (~ and $ are no more than letters in a recipe: write the path in "
            "full)"
        )
    if not os.path.isabs(name):
        return f" (looked for in {os.getcwd()}, where the command runs)"
    return ""


def check_known(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise a `UserError` for the first name that is not known.

    Args:
        kind: what the names are of, for the message.
        names: the names to check.
        known: the names that exist.

    Raises:
        UserError: a name is not known.

    Example:
    >>> from kbp.errors import check_known
    >>> check_known("color", ["rde"], ["red", "blue"])
    Traceback (most recent call last):
    kbp.errors.UserError: unknown color 'rde'; did you mean 'red'?
    """
    known = set(known)
    for name in names:
        if name not in known:
            raise UserError(f"unknown {kind} {name!r}{nearest(name, known)}")
