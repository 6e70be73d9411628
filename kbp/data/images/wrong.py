"""What is said of images that cannot be read."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kbp.errors import UserError

_NAMED = 3  # files after the first


def said_of_wrong(wrong: Mapping[Path, UserError]) -> str:
    """Say what is wrong with the first of some files, and name the next ones.

    Args:
        wrong: what is wrong with each, see `read_photographs`; one or more.
    """
    first, *others = wrong
    if not others:
        return str(wrong[first])
    named = ", ".join(map(str, others[:_NAMED]))
    more = ", ..." if len(others) > _NAMED else ""
    return f"{wrong[first]} ({len(wrong)} files are wrong, also {named}{more}.)"


def refuse(kinds: Sequence[str], wrong: Mapping[Path, UserError]) -> None:
    """Raise one error for all files that are refused, if there are any.

    Args:
        kinds: what was said of images of other kinds, by folder.
        wrong: what is wrong with other files, see `read_photographs`.

    Raises:
        UserError: there is one or the other.
    """
    said = [*kinds, *([said_of_wrong(wrong)] if wrong else [])]
    if said:
        raise UserError(" ".join(said))
