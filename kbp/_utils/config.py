"""Sections of a recipe: frozen dataclasses whose values are checked."""

import dataclasses
import json
import operator
import re
import reprlib
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from kbp.errors import UserError, nearest

T = TypeVar("T")

_MOST_BITS = 63  # of an integer, as TOML has it
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
shown = _SHORT.repr  # a value in a message


def number(
    default: float | None,
    low: float | None = None,
    high: float | None = None,
    *,
    below: float | None = None,
    above: float | None = None,
) -> Any:
    """Declare a field that is a number in a range.

    Args:
        default: its value where a recipe gives none; `None` if it then has
            none.
        low: the least value.
        high: the largest value.
        below: a bound that the value may not reach.
        above: a bound that the value must exceed.

    Returns:
        A field of a dataclass.

    Example:
    >>> import dataclasses
    >>> from kbp.data import number
    >>> @dataclasses.dataclass(frozen=True)
    ... class NoiseConfig:
    ...     deviation: float = number(0.1, 0, below=1)
    >>> NoiseConfig()
    NoiseConfig(deviation=0.1)
    """
    limits = {"low": low, "high": high, "below": below, "above": above}
    return dataclasses.field(default=default, metadata=limits)


def choice(default: str, choices: Collection[str], formerly: str = "") -> Any:
    """Declare a field that is one of several words.

    Args:
        default: its value where a recipe gives none.
        choices: the words.
        formerly: the key's name in older recipes, which is read as well.

    Returns:
        A field of a dataclass.

    Example:
    >>> import dataclasses
    >>> from kbp.data import choice
    >>> @dataclasses.dataclass(frozen=True)
    ... class NoiseConfig:
    ...     color: str = choice("white", ("white", "pink"))
    >>> NoiseConfig()
    NoiseConfig(color='white')
    """
    return dataclasses.field(
        default=default, metadata={"choices": choices, "formerly": formerly}
    )


def present_name(kind: type, key: str) -> str:
    """Return the name of a section's key, by the one that it had or has."""
    for field in dataclasses.fields(_dataclass(kind)):
        if key == field.metadata.get("formerly"):
            return field.name
    return key


def parse(
    kind: type[T], section: str, values: Mapping[str, Any], *others: str
) -> T:
    """Make a dataclass of a mapping, checking every key and value.

    Args:
        kind: the dataclass.
        section: its name in the recipe.
        values: by key.
        *others: keys of the section that are not the dataclass's, to suggest.

    Raises:
        UserError: a key is unknown or missing, or a value has the wrong type or
            range.
    """
    fields = {f.name: f for f in dataclasses.fields(_dataclass(kind))}
    hints = typing.get_type_hints(kind)
    checked: dict[str, Any] = {}
    for given, value in values.items():
        key = present_name(kind, given)
        if key in checked:
            raise UserError(
                f"{section}.{given} is the former name of {section}.{key}; "
                "give one of them"
            )
        if key not in fields:
            raise UserError(
                f"unknown key {section}.{key}"
                f"{nearest(str(key), [*fields, *others])}"
            )
        value = check_type(f"{section}.{key}", value, hints[key])
        _check_range(f"{section}.{key}", value, fields[key].metadata)
        checked[key] = value
    for key, declared in fields.items():
        if key not in checked and _default(declared) is dataclasses.MISSING:
            raise UserError(f"{section}.{key} is missing")
    return kind(**checked)


def changed(config: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that have not their usual values."""
    values = as_dict(config)
    return {
        field.name: values[field.name]
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != _default(field)
    }


def check_unused(section: str, config: Any, reason: str, *keys: str) -> None:
    """Refuse keys of a section that would change nothing.

    Args:
        section: its name in the recipe.
        config: its dataclass.
        reason: why they cannot be changed.
        *keys: that must have their usual values.

    Raises:
        UserError: one has another.
    """
    for key in changed(config):
        if key in keys:
            raise UserError(f"{section}.{key} has no effect: {reason}")


def check_type(key: str, value: Any, hint: Any) -> Any:
    """Return a value as its type asks for it: lists as tuples.

    Args:
        key: of the recipe.
        value: as TOML has it.
        hint: `bool`, `int`, `float`, `str`, a tuple of one of them and `...`,
            or a dataclass, of a table; each of them or `None`, which a field
            is by default alone. An integer is a float, too.

    Raises:
        UserError: the value has another type.
    """
    if type(value) is int and value.bit_length() > _MOST_BITS:
        raise UserError(
            f"{key} must be {'finite' if hint is float else 'smaller'}; "
            f"received an integer of {value.bit_length()} bits"
        )
    hint = without_none(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if isinstance(value, Mapping):
            return parse(hint, key, value)
        raise UserError(f"{key} must be a table; received {shown(value)}")
    if typing.get_origin(hint) is tuple:
        kind, _ = typing.get_args(hint)
        if isinstance(value, list | tuple):
            return tuple(
                check_type(f"an item of {key}", item, kind) for item in value
            )
        raise UserError(f"{key} must be a list; received {shown(value)}")
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise UserError(
            f"{key} must be of type {hint.__name__}; received {shown(value)}"
        )
    if isinstance(value, str) and _NO_TEXT.search(value):
        raise UserError(
            f"{key} must hold no zero byte, and only what UTF-8 can; received "
            f"{shown(value)}"
        )
    return value


def without_none(hint: Any) -> Any:
    """Return the type of a value that may also be `None`."""
    if typing.get_origin(hint) not in (types.UnionType, typing.Union):
        return hint
    (kind,) = {*typing.get_args(hint)} - {type(None)}
    return kind


def as_dict(config: Any) -> dict[str, Any]:
    """Return a section as `parse` reads it, without what has no value."""

    def known(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: value for key, value in pairs if value is not None}

    return dataclasses.asdict(config, dict_factory=known)


def to_toml(value: Any) -> str:
    """Return a value of a section as TOML.

    Example:
    >>> from kbp._utils.config import to_toml
    >>> to_toml({"patience": 3, "monitor": "val_loss"})
    '{patience = 3, monitor = "val_loss"}'
    """
    if isinstance(value, dict):
        pairs = (f"{key} = {to_toml(x)}" for key, x in value.items())
        return f"{{{', '.join(pairs)}}}"
    # JSON's numbers, strings, booleans and lists are TOML's too, but for
    # pairs of surrogates and for U+007F, which TOML wants escaped.
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def _check_range(key: str, value: Any, limits: Mapping[str, Any]) -> None:
    choices = limits.get("choices")
    if choices and value not in choices:
        raise UserError(
            f"{key}: unknown {shown(value)}{nearest(value, choices)}"
        )
    if isinstance(value, float) and value in (float("inf"), -float("inf")):
        raise UserError(f"{key} must be finite; received {value}")
    comparisons = (
        ("low", "at least", operator.ge),
        ("above", "more than", operator.gt),
        ("below", "less than", operator.lt),
        ("high", "at most", operator.le),
    )
    for name, words, holds in comparisons:
        limit = limits.get(name)
        # NaN compares as false, so it never passes a limit.
        if limit is not None and not holds(value, limit):
            raise UserError(f"{key} must be {words} {limit}; received {value}")


def _dataclass(kind: type) -> Any:
    if not dataclasses.is_dataclass(kind):
        raise TypeError(f"A section must be a dataclass. Received: {kind!r}")
    return kind


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
