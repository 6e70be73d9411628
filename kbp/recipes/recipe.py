"""Recipes: what to train, as TOML read into frozen dataclasses."""

import dataclasses
import inspect
import json
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kbp.errors import UserError, nearest
from kbp.recipes.sections import (
    ARCHITECTURES,
    DATA_KINDS,
    DataRecipe,
    ExportRecipe,
    ImagesRecipe,
    LinearSkipRecipe,
    LossRecipe,
    ModelRecipe,
    OptimizerRecipe,
    QuantizationRecipe,
    SparsityRecipe,
    TrainingRecipe,
)


@dataclass(frozen=True)
class Recipe:
    """Everything that a run depends on, besides code and data.

    Example:
    >>> from kbp.recipes import Recipe
    >>> recipe = Recipe.parse({"training": {"epochs": 3}})
    >>> recipe.with_settings(["data.image_size=16"]).data.image_size
    16
    """

    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=ImagesRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    linear_skip: LinearSkipRecipe = field(default_factory=LinearSkipRecipe)
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    sparsity: SparsityRecipe = field(default_factory=SparsityRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
    quantization: QuantizationRecipe = field(default_factory=QuantizationRecipe)
    export: ExportRecipe = field(default_factory=ExportRecipe)

    @classmethod
    def read(cls, path: str | Path) -> "Recipe":
        """Read a TOML file.

        Raises:
            UserError: the file is missing or no TOML, a key is unknown, or a
                value has the wrong type or range.
        """
        try:
            content = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read: {error}") from error
        try:
            return cls.parse(tomllib.loads(content))
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{path}: not valid TOML: {error}") from error
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    @classmethod
    def parse(cls, sections: Mapping) -> "Recipe":
        """Make a recipe of nested mappings, checking every key and value."""
        known = typing.get_type_hints(cls)
        parsed = {}
        for name, values in sections.items():
            if name not in known:
                raise UserError(
                    f"unknown section [{name}]{nearest(name, known)}"
                )
            if not isinstance(values, Mapping):
                raise UserError(f"[{name}] must be a section, not a value")
            parsed[name] = _section(known[name], name, values)
        recipe = cls(**parsed)
        if recipe.sparsity.begin >= recipe.sparsity.end:
            raise UserError(
                "sparsity.begin must be less than sparsity.end; received "
                f"{recipe.sparsity.begin} and {recipe.sparsity.end}"
            )
        if recipe.sparsity.target and not recipe.training.epochs:
            raise UserError(
                "training.epochs must be at least 1 for masks to close, or "
                "sparsity.target 0"
            )
        return recipe

    def with_settings(self, settings: Sequence[str]) -> "Recipe":
        """Return the recipe with `section.key=value` settings applied."""
        sections = self.to_dict()
        for setting in settings:
            key, equals, text = setting.partition("=")
            section, dot, name = key.strip().partition(".")
            if not (equals and dot and name):
                raise UserError(
                    f"setting {setting!r} is not of the form section.key=value"
                )
            sections.setdefault(section, {})[name] = _value(text.strip())
        return type(self).parse(sections)

    def to_dict(self) -> dict:
        """Return nested dictionaries that `parse` reads back."""
        sections = dataclasses.asdict(self)
        sections["model"] |= sections["model"].pop("arguments")
        return sections

    def to_toml(self) -> str:
        """Return TOML that `read` reads back."""
        lines = []
        for section, values in self.to_dict().items():
            lines.append(f"[{section}]")
            # JSON's numbers, strings, booleans and lists are TOML's too.
            lines += [f"{k} = {json.dumps(v)}" for k, v in values.items()]
            lines.append("")
        return "\n".join(lines)


def _value(text):
    """Read a TOML value; a bare word is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _section(cls, section, values):
    if cls is ModelRecipe:
        return _model(values)
    if cls == DataRecipe:
        cls = _data_kind(values)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    checked = {}
    for key, value in values.items():
        if key not in fields:
            raise UserError(
                f"unknown key {section}.{key}{nearest(key, fields)}"
            )
        value = _typed(f"{section}.{key}", value, hints[key])
        _check_range(f"{section}.{key}", value, fields[key].metadata)
        checked[key] = value
    return cls(**checked)


def _data_kind(values):
    kind = _typed("data.kind", values.get("kind", ImagesRecipe.kind), str)
    if kind not in DATA_KINDS:
        raise UserError(
            f"data.kind: unknown {kind!r}{nearest(kind, DATA_KINDS)}"
        )
    return DATA_KINDS[kind]


def _model(values):
    values = dict(values)
    architecture = _typed(
        "model.architecture",
        values.pop("architecture", ModelRecipe.architecture),
        str,
    )
    if architecture not in ARCHITECTURES:
        raise UserError(
            f"model.architecture: unknown {architecture!r}"
            f"{nearest(architecture, ARCHITECTURES)}"
        )
    builder = ARCHITECTURES[architecture]
    hints = {
        name: _without_none(typing.get_type_hints(builder)[name])
        for name, p in inspect.signature(builder).parameters.items()
        if p.kind is inspect.Parameter.KEYWORD_ONLY and name != "head"
    }
    for key, value in values.items():
        if key not in hints:
            raise UserError(
                f"unknown key model.{key}"
                f"{nearest(key, [*hints, 'architecture'])}"
            )
        values[key] = _typed(f"model.{key}", value, hints[key])
    return ModelRecipe(architecture, values)


def _without_none(hint):
    if typing.get_origin(hint) is not types.UnionType:
        return hint
    (kind,) = {*typing.get_args(hint)} - {type(None)}
    return kind


def _typed(key, value, hint):
    if typing.get_origin(hint) is tuple:
        kind, _ = typing.get_args(hint)
        if isinstance(value, list | tuple):
            return tuple(_typed(f"an item of {key}", x, kind) for x in value)
        raise UserError(f"{key} must be a list; received {value!r}")
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise UserError(
            f"{key} must be of type {hint.__name__}; received {value!r}"
        )
    return value


def _check_range(key, value, limits):
    choices = limits.get("choices")
    if choices and value not in choices:
        raise UserError(f"{key}: unknown {value!r}{nearest(value, choices)}")
    comparisons = (
        ("low", "at least", lambda limit: value >= limit),
        ("high", "at most", lambda limit: value <= limit),
        ("above", "more than", lambda limit: value > limit),
        ("below", "less than", lambda limit: value < limit),
    )
    for name, words, holds in comparisons:
        limit = limits.get(name)
        # NaN compares as false, so it never passes a limit.
        if limit is not None and not holds(limit):
            raise UserError(f"{key} must be {words} {limit}; received {value}")
    if isinstance(value, float) and value in (float("inf"), -float("inf")):
        raise UserError(f"{key} must be finite; received {value}")
