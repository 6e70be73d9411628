"""Images that belong together, by their names."""

import re
from collections.abc import Sequence
from pathlib import Path

from kbp.data.splitting import Indices, some
from kbp.errors import UserError


def groups_of(paths: Sequence[Path], pattern: str) -> list[str]:
    """Return what the first group of a pattern matches in each file's name.

    Args:
        paths: of the files.
        pattern: a regular expression, `data.group_pattern` of a recipe.

    Raises:
        UserError: it is none, has no group, or does not match a name.

    Example:
    >>> from pathlib import Path
    >>> groups_of([Path("p7_left.png"), Path("p7_right.png")], "(p[0-9]+)_")
    ['p7', 'p7']
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"data.group_pattern: no regular expression: {error}; received "
            f"{pattern!r}"
        ) from error
    if not compiled.groups:
        raise UserError(
            "data.group_pattern must have a group in parentheses; received "
            f"{pattern!r}"
        )
    matches = [compiled.search(path.name) for path in paths]
    groups = [match[1] if match else None for match in matches]
    unmatched = [p for p, g in zip(paths, groups, strict=True) if g is None]
    if unmatched:
        raise UserError(
            f"data.group_pattern {pattern!r} finds no group in the name of "
            f"{some(unmatched)}"
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
