"""What to train: a TOML file read into frozen dataclasses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kbp._utils import config
from kbp.errors import UserError, nearest
from kbp.models.registry import runs_in_float
from kbp.recipes import optimizer, text
from kbp.recipes.federated import FederatedRecipe, check_federated
from kbp.recipes.monitor import MonitorRecipe, check_monitor
from kbp.recipes.registered import DataRecipe, ModelRecipe, TaskRecipe
from kbp.recipes.sections import (
    COMMON,
    EnsembleRecipe,
    ExportRecipe,
    QuantizationRecipe,
    SparsityRecipe,
)
from kbp.recipes.text import Sections
from kbp.recipes.training import OptimizerRecipe, TrainingRecipe
from kbp.tasks.registry import TASKS


@dataclass(frozen=True)
class Recipe:
    """Everything that a run depends on, besides code and data.

    Attributes:
        model: architecture and its arguments.
        data: data set and what it is asked for.
        task: what a model learns from it, with the sections of that task, such
            as its loss.
        optimizer: learning rate and its schedule.
        sparsity: how many weights or channels are pruned, and when.
        training: epochs, batch size, devices.
        monitor: what is measured of layers while they train.
        ensemble: several networks whose outputs are combined.
        federated: clients who train, and keep their data.
        quantization: training in fake eight bits.
        export: the files, and their measurement.

    Example:
    >>> from kbp.recipes import Recipe
    >>> recipe = Recipe.parse({"training": {"epochs": 3}})
    >>> recipe.with_settings(["data.image_size=16"]).data.config.image_size
    16
    """

    model: ModelRecipe = field(default_factory=lambda: ModelRecipe.parse({}))
    data: DataRecipe = field(default_factory=lambda: DataRecipe.parse({}))
    task: TaskRecipe = field(
        default_factory=lambda: TaskRecipe.parse({}, DataRecipe.parse({}))
    )
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    sparsity: SparsityRecipe = field(default_factory=SparsityRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
    monitor: MonitorRecipe = field(default_factory=MonitorRecipe)
    ensemble: EnsembleRecipe = field(default_factory=EnsembleRecipe)
    federated: FederatedRecipe = field(default_factory=FederatedRecipe)
    quantization: QuantizationRecipe = field(default_factory=QuantizationRecipe)
    export: ExportRecipe = field(default_factory=ExportRecipe)

    @classmethod
    def read(cls, path: str | Path, settings: Sequence[str] = ()) -> "Recipe":
        """Read a TOML file.

        Args:
            path: of the file.
            settings: of `with_settings`; the file may lack what they give.

        Raises:
            UserError: the file is missing or no TOML, a key is unknown, or a
                value has the wrong type or range.
        """

        def parse(sections: dict[str, Any]) -> "Recipe":
            try:
                return cls.parse(sections)
            except UserError:
                if not settings:
                    raise
            given = text.settings_of(settings)
            return cls.parse(text.changed(sections, given))

        return text.read(path, parse).with_settings(settings)

    @classmethod
    def parse(cls, sections: Mapping[str, Mapping[str, Any]]) -> "Recipe":
        """Make a recipe of nested mappings, checking every key and value.

        Args:
            sections: keys and values of each section, by its name.

        Raises:
            UserError: a section or key is unknown, or a value has the wrong
                type or range.
        """
        for name, values in sections.items():
            if not isinstance(values, Mapping):
                raise UserError(f"[{name}] must be a section, not a value")
        data = DataRecipe.parse(sections.get("data", {}))
        task = TaskRecipe.parse(sections, data)
        _check_names(sections, task)
        common: dict[str, Any] = {
            name: config.parse(kind, name, sections.get(name, {}))
            for name, kind in COMMON.items()
        }
        common["optimizer"] = optimizer.checked(common["optimizer"])
        recipe = cls(
            model=ModelRecipe.parse(sections.get("model", {})),
            data=data,
            task=task,
            **common,
        )
        _check_float(recipe)
        _check_masks(recipe)
        _check_trainings(recipe)
        check_monitor(recipe)
        check_federated(recipe)
        return recipe

    def with_settings(self, settings: Sequence[str]) -> "Recipe":
        """Return the recipe with `section.key=value` settings applied.

        Where a setting chooses another data set, keys that have their usual
        values do not follow, and the task is the other data set's.

        Args:
            settings: texts such as `"training.epochs=3"`.

        Raises:
            UserError: a text is of another form, or does not fit.
        """
        if not settings:
            return self
        given = []
        for section, name, value in text.settings_of(settings):
            if section in self.task.sections:
                kind = type(self.task.sections[section])
                name = config.present_name(kind, name)
            given.append((section, name, value))
        return type(self).parse(text.changed(self._changes(), given))

    def to_dict(self) -> Sections:
        """Return nested dictionaries that `parse` reads back."""
        common = {n: config.as_dict(getattr(self, n)) for n in COMMON}
        return {
            "model": self.model.to_dict(),
            "data": self.data.to_dict(),
            **self.task.to_dict(),
            **common,
        }

    def to_toml(self) -> str:
        """Return TOML that `read` reads back."""
        lines = []
        for section, values in self.to_dict().items():
            lines.append(f"[{section}]")
            lines += [f"{k} = {config.to_toml(v)}" for k, v in values.items()]
            lines.append("")
        return "\n".join(lines)

    def _changes(self) -> Sections:
        """Return what `parse` needs: all that has not its usual value."""
        task = self.task.changes()
        if self.task.name == self.data.task:
            del task["task"]["name"]
        sections = {
            "model": self.model.to_dict(),
            "data": self.data.changes(),
            **task,
            **{name: config.changed(getattr(self, name)) for name in COMMON},
        }
        return {name: values for name, values in sections.items() if values}


def _check_names(sections: Mapping[str, Any], task: TaskRecipe) -> None:
    """Raise a UserError that names the first section that is not known."""
    known = ["model", "data", *task.sections, *COMMON]
    for name in sections:
        if name in known:
            continue
        others = [other for other in TASKS if name in TASKS[other].sections]
        if others:
            raise UserError(
                f"section [{name}] is for the task {' or '.join(others)}; this "
                f"recipe's is {task.name}"
            )
        raise UserError(f"unknown section [{name}]{nearest(str(name), known)}")


def _check_float(recipe: Recipe) -> None:
    architecture = recipe.model.architecture
    if recipe.quantization.enabled and runs_in_float(architecture):
        raise UserError(
            f"model.architecture: {architecture!r} is computed in float, not "
            "in eight bits; set quantization.enabled = false"
        )


def _check_masks(recipe: Recipe) -> None:
    sparsity = recipe.sparsity
    if sparsity.begin >= sparsity.end:
        raise UserError(
            "sparsity.begin must be less than sparsity.end; received "
            f"{sparsity.begin} and {sparsity.end}"
        )
    if sparsity.target and not recipe.training.epochs:
        raise UserError(
            "training.epochs must be at least 1 for masks to close, or "
            "sparsity.target 0"
        )
    if sparsity.granularity == "element":
        reason = 'sparsity.granularity is "element"'
        config.check_unused("sparsity", sparsity, reason, "scores", "branches")
    if sparsity.branches:
        if sparsity.measure == "masks":
            raise UserError(
                "sparsity.branches is a share of the whole network; set "
                'sparsity.measure to another than "masks"'
            )
        if sparsity.branches >= sparsity.target:
            raise UserError(
                "sparsity.branches must be less than sparsity.target; received "
                f"{sparsity.branches} and {sparsity.target}"
            )


def _check_trainings(recipe: Recipe) -> None:
    """Refuse several trainings that could not differ, or be combined."""
    section, training = recipe.ensemble, recipe.training
    if not training.frozen_epochs:
        config.check_unused(
            "training",
            training,
            "training.frozen_epochs is 0",
            "frozen_learning_rate",
        )
    if section.members == 1:
        raise UserError(
            "ensemble.members must be 2 or more, or 0 for none; received 1"
        )
    if not section.members:
        reason = "ensemble.members is 0"
        config.check_unused("ensemble", section, reason, *vars(section))
    for key, several in (
        ("training.starts", training.starts > 1),
        ("ensemble.members", section.members),
    ):
        if several and not training.epochs:
            raise UserError(
                f"{key} has no effect with training.epochs = 0, after which "
                "all would be what they start as"
            )
    if section.members and training.starts > 1:
        raise UserError(
            "training.starts keeps one of several trainings, and "
            "ensemble.members combines them; set one of the two"
        )
    if section.combine == "vote" and section.distill:
        raise UserError(
            "ensemble.distill learns from scores, which votes are not; set "
            'ensemble.combine = "mean"'
        )
    if section.combine == "vote" and recipe.quantization.enabled:
        raise UserError(
            'ensemble.combine = "vote" cannot be computed in eight bits; set '
            'ensemble.combine = "mean" or quantization.enabled = false'
        )
