"""Sections whose first key chooses what else they hold: model, data, task."""

import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import keras

from kbp._utils import config
from kbp._utils.machine import memory
from kbp._utils.weights import bounded_weights
from kbp.data.registry import DATASETS
from kbp.errors import UserError, nearest
from kbp.models.registry import GIVEN, MODELS, keyword_only
from kbp.recipes.sections import DATA_SET
from kbp.tasks.registry import TASKS

Section = TypeVar("Section")

ARCHITECTURE = "pyramid_bpnet"
_USUAL = "classification"  # what a builder's model is for if none is named
_BYTES = 20  # of a weight in training: itself, its gradient, three moments
_MOST_ARRAYS = 10_000  # weights, which take milliseconds each
_MOST = 2**31 - 1  # of an integer among a builder's arguments


@dataclass(frozen=True)
class ModelRecipe:
    """Section `[model]`: an architecture and its builder's arguments."""

    architecture: str = ARCHITECTURE
    arguments: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "ModelRecipe":
        """Check the keys and values of the section.

        Raises:
            UserError: one is unknown, or a value has the wrong type.
        """
        architecture, values = _chosen("model.architecture", values, cls())
        builder = MODELS[architecture]
        hints = typing.get_type_hints(builder)
        known = [name for name in keyword_only(builder) if name not in GIVEN]
        for key, value in values.items():
            if key not in known:
                raise UserError(
                    f"unknown key model.{key}"
                    f"{nearest(str(key), [*known, 'architecture'])}"
                )
            hint = config.without_none(hints[key])
            value = config.check_type(f"model.{key}", value, hint)
            if type(value) is int and abs(value) > _MOST:
                raise UserError(
                    f"model.{key} must be at most {_MOST:,}; received {value}"
                )
            if value != value:
                raise UserError(f"model.{key} must be a number; received nan")
            values[key] = value
        return cls(architecture, values)

    def argument(self, name: str, default: Any) -> Any:
        """Return an argument of the builder, or a default if it has none."""
        usual = keyword_only(MODELS[self.architecture])
        return self.arguments.get(name, usual.get(name, default))

    def known(self, *names: str) -> tuple[str, ...]:
        """Return those of some keys that the section may have."""
        usual = keyword_only(MODELS[self.architecture])
        return tuple(name for name in names if name in usual)

    def build(
        self, input_shape: tuple[int, ...], num_outputs: int, **given: Any
    ) -> keras.Model:
        """Build the Keras model.

        Args:
            input_shape: of one example.
            num_outputs: what the model gives for it, such as classes.
            **given: arguments of the builder that are no keys of the section,
                see `GIVEN`: `head="segmentation"` and the like, for another
                end than the usual one, and how many columns are covariates.

        Raises:
            UserError: the architecture has no such head or takes no
                covariates, or an argument is out of range.
        """
        builder = MODELS[self.architecture]
        usual = keyword_only(builder)
        unknown = {*given} - {*usual}
        if "head" not in given and usual.get("head", _USUAL) != _USUAL:
            raise UserError(
                f"model.architecture: {self.architecture!r} is for "
                f"{usual['head']} alone"
            )
        if "head" in unknown:
            raise UserError(
                f"model.architecture: {self.architecture!r} has one head alone,"
                f" and none for {given['head']}"
            )
        if unknown:
            raise UserError(
                f"model.architecture: {self.architecture!r} takes no covariates"
            )
        keys = [
            f"model.{key}"
            for key, value in self.arguments.items()
            if type(value) is int
        ]
        choose = f"choose less for {' or '.join(keys) or 'the data'}"
        most = memory() // 2

        def words(name: str, shape: tuple[int, ...]) -> str:
            return (
                f"[model] layer {name!r} asks for weights of shape {shape}, "
                f"more in all than can be trained in {most:,} bytes of memory "
                f"or in a short time; {choose}"
            )

        try:
            with bounded_weights(most // _BYTES, _MOST_ARRAYS, words):
                model = builder(
                    tuple(input_shape), num_outputs, **self.arguments, **given
                )
        except UserError:
            raise
        except ValueError as error:
            shaped = "`input_shape`" in str(error)
            whose = "; that is the shape of an example of [data]" * shaped
            raise UserError(f"[model] {error}{whose}") from error
        except (OverflowError, MemoryError) as error:
            raise UserError(f"[model] {error}; {choose}") from error
        return model

    def to_dict(self) -> dict[str, Any]:
        """Return the section as `parse` reads it."""
        return {"architecture": self.architecture, **self.arguments}


@dataclass(frozen=True)
class DataRecipe:
    """Section `[data]`: a data set and the dataclass of its own keys."""

    name: str
    config: Any

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "DataRecipe":
        """Check the keys and values of the section.

        Raises:
            UserError: one is unknown, or a value has the wrong type or range.
        """
        name, values = _chosen("data.name", values, cls(DATA_SET, None))
        kind = DATASETS[name].config
        return cls(name, config.parse(kind, "data", values, "name"))

    @property
    def task(self) -> str:
        """Name of the task that the data set is for by default."""
        return DATASETS[self.name].task

    def to_dict(self) -> dict[str, Any]:
        """Return the section as `parse` reads it."""
        return {"name": self.name, **config.as_dict(self.config)}

    def changes(self) -> dict[str, Any]:
        """Return the section without the keys that have their usual values."""
        return {"name": self.name, **config.changed(self.config)}


@dataclass(frozen=True)
class _NoKeys:
    """Keys of `[task]` besides the name, of a task that declares none."""


@dataclass(frozen=True)
class TaskRecipe:
    """Section `[task]`, and the sections that the task declares.

    Attributes:
        name: of the task.
        sections: the dataclasses of its sections by their names; "task" is that
            of the other keys of `[task]`.
    """

    name: str
    sections: dict[str, Any]

    @classmethod
    def parse(
        cls, sections: Mapping[str, Mapping[str, Any]], data: DataRecipe
    ) -> "TaskRecipe":
        """Check `[task]` and the sections of its task.

        Args:
            sections: all of the recipe.
            data: whose task it is by default.

        Raises:
            UserError: a key is unknown, or a value has the wrong type or range.
        """
        usual = cls(data.task, {})
        name, values = _chosen("task.name", sections.get("task", {}), usual)
        kinds = {"task": _NoKeys, **TASKS[name].sections}
        parsed: dict[str, Any] = {
            "task": config.parse(kinds.pop("task"), "task", values, "name")
        }
        for section, kind in kinds.items():
            parsed[section] = config.parse(
                kind, section, sections.get(section, {})
            )
        return cls(name, parsed)

    def section(self, kind: type[Section]) -> Section:
        """Return one of the sections by its class."""
        for section in self.sections.values():
            if isinstance(section, kind):
                return section
        raise KeyError(f"The task {self.name!r} declares no {kind.__name__}.")

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return `[task]` and the task's sections as `parse` reads them."""
        return self._to_dict(config.as_dict)

    def changes(self) -> dict[str, dict[str, Any]]:
        """Return them without the keys that have their usual values."""
        return self._to_dict(config.changed)

    def _to_dict(
        self, values: Callable[[Any], dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        own = {name: values(section) for name, section in self.sections.items()}
        return {**own, "task": {"name": self.name, **own["task"]}}


def _chosen(
    key: str, values: Mapping[str, Any], usual: Any
) -> tuple[str, dict[str, Any]]:
    """Return what a section's first key chooses, and the other keys."""
    first = key.partition(".")[2]
    rest = dict(values)
    name = rest.pop(first, getattr(usual, first))
    return config.check_type(key, name, str), rest
