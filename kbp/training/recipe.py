"""Recipes: what to train, as TOML read into frozen dataclasses."""

import dataclasses
import inspect
import json
import tomllib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kbp import models
from kbp.errors import UserError, nearest
from kbp.layers.dtm import GRANULARITIES
from kbp.sparsity import BUDGETS
from kbp.training.distribution import STRATEGIES

ARCHITECTURES = {
    "pyramid_bpnet": models.PyramidBPNet,
    "bp_transformer": models.BPTransformer,
}
DATA_SETS = ("digits", "cifar10")


def _number(default, low=None, high=None, *, below=None, above=None):
    """Declare a number with its range; `below` and `above` are exclusive."""
    limits = {"low": low, "high": high, "below": below, "above": above}
    return field(default=default, metadata=limits)


def _choice(default, choices):
    return field(default=default, metadata={"choices": choices})


@dataclass(frozen=True)
class ModelRecipe:
    """Section `[model]`: an architecture and its builder's arguments."""

    architecture: str = _choice("pyramid_bpnet", tuple(ARCHITECTURES))
    arguments: dict[str, typing.Any] = field(default_factory=dict)

    def build(self, input_shape, num_classes):
        """Build the Keras model."""
        builder = ARCHITECTURES[self.architecture]
        try:
            return builder(tuple(input_shape), num_classes, **self.arguments)
        except ValueError as error:
            raise UserError(f"[model] {error}") from error


@dataclass(frozen=True)
class DataRecipe:
    """Section `[data]`."""

    name: str = _choice("digits", DATA_SETS)
    layout: str = _choice("image", ("image", "rows"))
    image_size: int = _number(32, 8, 256)
    validation_fraction: float = _number(0.1, 0, below=0.5)
    test_fraction: float = _number(0.2, above=0, below=1)
    split_seed: int = _number(0, 0, 2**32 - 1)
    rotation: float = _number(0.0, 0, 180)
    shift: float = _number(0.0, 0, 0.5)
    zoom: float = _number(0.0, 0, 0.5)
    flip: bool = False


@dataclass(frozen=True)
class OptimizerRecipe:
    """Section `[optimizer]`: HybridOptimizer, warm-up, then cosine decay."""

    learning_rate: float = _number(1e-3, above=0)
    warmup: float = _number(0.1, 0, below=1)
    weight_decay: float = _number(0.0, 0)
    matrix_steps: bool = False
    beta_1: float = _number(0.9, 0, below=1)
    beta_2: float = _number(0.999, 0, below=1)


@dataclass(frozen=True)
class SparsityRecipe:
    """Section `[sparsity]`: DTM masks; a target of 0 leaves them out.

    With the granularity "channel", the channels leave the network.
    """

    target: float = _number(0.0, 0, below=1)
    granularity: str = _choice("element", GRANULARITIES)
    budget: str = _choice("adaptive", BUDGETS)
    multiple_of: int = _number(1, 1)
    begin: float = _number(0.1, 0, below=1)
    end: float = _number(0.7, above=0, high=1)
    skip: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingRecipe:
    """Section `[training]`."""

    epochs: int = _number(10, 1)
    batch_size: int = _number(32, 1)
    seed: int = _number(0, 0, 2**31 - 1)
    strategy: str = _choice("auto", STRATEGIES)


@dataclass(frozen=True)
class QuantizationRecipe:
    """Section `[quantization]`.

    `float_products` leaves the products of attention layers in float32, which
    LiteRT computes faster than in integers.
    """

    epochs: int = _number(2, 1)
    learning_rate: float = _number(1e-4, above=0)
    calibration_batches: int = _number(8, 1)
    float_products: bool = False


@dataclass(frozen=True)
class ExportRecipe:
    """Section `[export]`."""

    allow_float: tuple[str, ...] = ()
    num_threads: int = _number(1, 1, 64)
    benchmark_rounds: int = _number(30, 1)


@dataclass(frozen=True)
class Recipe:
    """Everything that a run depends on, besides code and data.

    Example:
    >>> from kbp.training import Recipe
    >>> recipe = Recipe.parse({"training": {"epochs": 3}})
    >>> recipe.with_settings(["data.image_size=16"]).data.image_size
    16
    """

    model: ModelRecipe = ModelRecipe()
    data: DataRecipe = DataRecipe()
    optimizer: OptimizerRecipe = OptimizerRecipe()
    sparsity: SparsityRecipe = SparsityRecipe()
    training: TrainingRecipe = TrainingRecipe()
    quantization: QuantizationRecipe = QuantizationRecipe()
    export: ExportRecipe = ExportRecipe()

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
        name: typing.get_type_hints(builder)[name]
        for name, p in inspect.signature(builder).parameters.items()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }
    for key, value in values.items():
        if key not in hints:
            raise UserError(
                f"unknown key model.{key}"
                f"{nearest(key, [*hints, 'architecture'])}"
            )
        values[key] = _typed(f"model.{key}", value, hints[key])
    return ModelRecipe(architecture, values)


def _typed(key, value, hint):
    if typing.get_origin(hint) is tuple:
        if isinstance(value, list | tuple) and all(
            isinstance(item, str) for item in value
        ):
            return tuple(value)
        raise UserError(f"{key} must be a list of strings; received {value!r}")
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
