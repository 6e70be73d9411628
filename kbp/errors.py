"""The one error that a user's input can cause."""

import difflib
from collections.abc import Collection, Iterable


class UserError(ValueError):
    """What the user gave is wrong; the message is one line that says how.

    The command line prints it and exits with status 2.
    """


def nearest(name: str, names: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"`, or what there is if nothing is near."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}"


def check_known(
    kind: str, names: Iterable[str], known: Collection[str]
) -> None:
    """Raise a `UserError` that names the first name that is not known."""
    for name in names:
        if name not in known:
            raise UserError(f"unknown {kind} {name!r}{nearest(name, known)}")
