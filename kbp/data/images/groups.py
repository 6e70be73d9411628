"""Images that belong together, by their names."""

import re
from collections.abc import Sequence
from pathlib import Path

from kbp.data.splitting import Indices, some
from kbp.errors import UserError


def groups_of(
    names: Sequence[str], pattern: str, *, key: str = "data.group_pattern"
) -> list[str]:
    """Return what the first group of a pattern matches in each name.

    Args:
        names: of files.
        pattern: a regular expression.
        key: of a recipe that holds it, for errors.

    Raises:
        UserError: it is none, has no group, or does not match a name.

    Example:
    >>> groups_of(["p7_left.png", "p7_right.png"], "(p[0-9]+)_")
    ['p7', 'p7']
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"{key}: no regular expression: {error}; received {pattern!r}"
        ) from error
    if not compiled.groups:
        raise UserError(
            f"{key} must have a group in parentheses; received {pattern!r}"
        )
    matches = [compiled.search(name) for name in names]
    groups = [match[1] if match else None for match in matches]
    unmatched = [n for n, g in zip(names, groups, strict=True) if g is None]
    if unmatched:
        raise UserError(
            f"{key} {pattern!r} finds no group in the name of {some(unmatched)}"
        )
    return [group for group in groups if group is not None]


def check_apart(folder: Path, groups: Sequence[str], places: Indices) -> None:
    """Refuse images of one group in two splits.

    Args:
        folder: of the images, for errors.
        groups: of each image.
        places: indices of each split's images.

    Raises:
        UserError: a group is in two splits.
    """
    seen: dict[str, str] = {}
    for split, chosen in places.items():
        for group in (groups[i] for i in chosen):
            if seen.setdefault(group, split) != split:
                raise UserError(
                    f"{folder}: group {group!r} of data.group_pattern is in "
                    f"{seen[group]} and in {split}; move its images together."
                )
