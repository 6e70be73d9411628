"""Recipes as people write them: TOML files, and settings of single keys."""

import json
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from kbp.errors import UserError
from kbp.recipes.sections import check_common

Made = TypeVar("Made")
Sections = dict[str, dict[str, Any]]
_MOST_BYTES = 1_000_000  # of a file
_MOST_WORDS = 2000  # letters of a message


def read(path: str | Path, make: Callable[[dict[str, Any]], Made]) -> Made:
    """Return what is made of the sections of a TOML file.

    Args:
        path: of the file.
        make: is given the sections by their names.

    Raises:
        UserError: the file is missing or no TOML, or what `make` raises; the
            message begins with the path.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode("utf-8-sig")  # as editors of Windows write it
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read: {reason}") from error
    if len(content) > _MOST_BYTES:
        raise UserError(
            f"{path}: no recipe: has more than {_MOST_BYTES:,} bytes."
        )
    try:
        return make(_toml(text))
    except UserError as error:
        words = " ".join(str(error).split())
        raise UserError(f"{path}: {words[:_MOST_WORDS]}") from error


def settings_of(settings: Sequence[str]) -> list[tuple[str, str, Any]]:
    """Return the section, the key and the value of settings.

    Args:
        settings: texts such as `"training.epochs=3"`.

    Raises:
        UserError: a text is of another form.

    Example:
    >>> settings_of(["training.epochs=3"])
    [('training', 'epochs', 3)]
    """
    found = []
    for setting in settings:
        key, equals, text = setting.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot and name):
            raise UserError(
                f"setting {setting!r} is not of the form section.key=value"
            )
        found.append((section, name, _value(text.strip())))
    return found


def changed(
    sections: Sections, settings: Iterable[tuple[str, str, Any]]
) -> Sections:
    """Return sections with settings, as `settings_of` gives them.

    Example:
    >>> changed({"data": {"name": "digits"}}, [("training", "epochs", 3)])
    {'data': {'name': 'digits'}, 'training': {'epochs': 3}}
    """
    found = {**sections}
    for section, name, value in settings:
        values = found.get(section, {})
        if isinstance(values, dict):  # else the section is refused
            found[section] = values | {name: value}
    return found


def check_early(path: str | Path | None, settings: Sequence[str]) -> None:
    """Check what is known of a recipe without Keras: the common sections.

    Args:
        path: of the TOML file, if there is one.
        settings: that change it.

    Raises:
        UserError: a key is unknown, or a value has the wrong type or range.
    """
    if path is not None:
        read(path, check_common)
    for section, name, value in settings_of(settings):
        check_common({section: {name: value}})


def _toml(text: str) -> dict[str, Any]:
    """Read TOML whose values and sections may not lie too deep."""
    try:
        found = tomllib.loads(text)
        json.dumps(found, default=str)  # stops at what is too deep to show
    except RecursionError as error:
        raise UserError("not valid TOML: it is nested too deep") from error
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"not valid TOML: {reason}") from error
    return found


def _value(text: str) -> Any:
    """Read a TOML value; a bare word is a string."""
    try:
        found = _toml(f"value = {text}")
    except UserError as error:
        if isinstance(error.__cause__, tomllib.TOMLDecodeError):
            return text
        raise
    if len(found) > 1:
        raise UserError(f"a setting has one value; received {text!r}")
    return found["value"]
