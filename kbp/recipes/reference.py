"""What recipes may say: each section with its keys, as the code declares it."""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kbp._utils.config import to_toml, without_none
from kbp.data.registry import DATASETS
from kbp.models.registry import GIVEN, MODELS, keyword_only
from kbp.recipes.sections import COMMON
from kbp.tasks.registry import TASKS

_SIGNS = {"low": "≥ ", "above": "> ", "high": "≤ ", "below": "< "}
_WORDS = {str: "string", int: "integer", float: "number", bool: "boolean"}


@dataclass(frozen=True)
class Key:
    """A key of a section.

    Attributes:
        name: of the key.
        kind: the type of its value, in TOML's words.
        default: its value where a recipe gives none, as TOML; "required"; or
            "" if it then has none.
        limits: the range or the choice of its values, "" if any will do.
    """

    name: str
    kind: str
    default: str
    limits: str


@dataclass(frozen=True)
class Section:
    """A section of recipes, or a table in one.

    Attributes:
        title: such as `[data] name = csv_series`; of a table in a section its
            key.
        words: what it is for.
        keys: its keys.
        tables: keys that are tables themselves.
    """

    title: str
    words: str
    keys: tuple[Key, ...]
    tables: tuple["Section", ...] = ()


def sections() -> Iterator[Section]:
    """Yield all sections that recipes may have.

    Those of data sets, architectures and tasks are of what is registered.

    Example:
    >>> from kbp.recipes.reference import sections
    >>> section = next(x for x in sections() if x.title == "[sparsity]")
    >>> section.keys[0]
    Key(name='target', kind='number', default='0.0', limits='≥ 0, < 1')
    """
    for name, kind in COMMON.items():
        yield _of_dataclass(f"[{name}]", kind)
    for name in DATASETS:
        yield _of_dataclass(f"[data] name = {name}", DATASETS[name].config)
    for name in MODELS:
        yield _of_builder(f"[model] architecture = {name}", MODELS[name])
    for name in TASKS:
        for key, kind in TASKS[name].sections.items():
            yield _of_dataclass(f"[{key}] of {name}", kind)


def _of_dataclass(title: str, kind: type[Any]) -> Section:
    hints = typing.get_type_hints(kind)
    keys, tables = [], []
    for field in dataclasses.fields(kind):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        hint = without_none(hints[field.name])
        limits = _limits(field.metadata)
        keys.append(Key(field.name, _kind(hint), _default(default), limits))
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            tables.append(_of_dataclass(field.name, hint))
    return Section(title, inspect.getdoc(kind) or "", (*keys,), (*tables,))


def _of_builder(title: str, builder: Callable[..., Any]) -> Section:
    hints = typing.get_type_hints(builder)
    keys = (
        Key(name, _kind(without_none(hints[name])), _default(default), "")
        for name, default in keyword_only(builder).items()
        if name not in GIVEN
    )
    words = (inspect.getdoc(builder) or "").partition("\n\n")[0]
    return Section(title, words, (*keys,))


def _default(value: Any) -> str:
    if value in (dataclasses.MISSING, inspect.Parameter.empty):
        return "required"
    if value is None:
        return ""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return to_toml(value)


def _kind(hint: Any) -> str:
    if typing.get_origin(hint) is tuple:
        return f"list of {_kind(typing.get_args(hint)[0])}s"
    return _WORDS.get(hint, "table")


def _limits(metadata: typing.Mapping[str, Any]) -> str:
    if choices := metadata.get("choices"):
        return ", ".join(map(to_toml, choices))
    return ", ".join(
        f"{sign}{metadata[name]:g}"
        for name, sign in _SIGNS.items()
        if metadata.get(name) is not None
    )
