"""The training of a run in float: once, several times, or as an ensemble."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import keras

from kbp import data
from kbp.errors import UserError
from kbp.reports.result_table import ResultTable
from kbp.sparsity import DTMSchedule
from kbp.tasks import Task, format_score
from kbp.training import transfer
from kbp.training.measuring import predicted
from kbp.training.techniques.ensembles import combined
from kbp.training.techniques.starts import best_of
from kbp.training.trainer import Trainer


@dataclass(frozen=True)
class FloatStage:
    """The training of a run in float.

    Each training is a stage of its own, `"train"`, or of several `"train.1"`
    and so on, which is not run again once it has ended.

    Args:
        trainer: of the run.
        masked: `masked(model) -> model`, which gives it masks to be pruned by.
        schedule: returns a new schedule of these masks, if there are any.
    """

    trainer: Trainer
    masked: Callable[[keras.Model], keras.Model]
    schedule: Callable[[], DTMSchedule | None]

    def fit(self) -> keras.Model:
        """Return the trained model that the recipe asks for."""
        recipe = self.trainer.recipe
        if recipe.ensemble.members:
            return self.ensemble()
        if recipe.training.starts > 1:
            return self.best_start()
        return self.train()

    def train(
        self, number: int = 0, suffix: str = "", *, pruned: bool = True
    ) -> keras.Model:
        """Return the model of one training.

        Args:
            number: is added to the recipe's seed.
            suffix: of the stages' names.
            pruned: whether it has masks, if the recipe has.
        """
        trainer = self.trainer
        recipe, seed = trainer.recipe, trainer.recipe.training.seed + number
        make = transfer.begin(trainer, seed=2 * seed, name=f"head{suffix}")
        return trainer.fit(
            f"train{suffix}",
            (lambda: self.masked(make())) if pruned else make,
            epochs=recipe.training.epochs,
            learning_rate=recipe.optimizer.learning_rate,
            seed=2 * seed,
            schedule=self.schedule() if pruned else None,
        )

    def several(
        self, count: int, *, pruned: bool = True
    ) -> Iterator[keras.Model]:
        """Yield the models of several trainings.

        The members of an ensemble learn each from a sample of its own.
        """
        task, section = self.trainer.task, self.trainer.recipe.ensemble
        seed, drawn = self.trainer.recipe.training.seed, None
        for number in range(count):
            if section.members and section.bootstrap:
                drawn = data.Resampled(task.splits.train, (seed, number))
            task.drawn = drawn
            try:
                model = self.train(number, f".{number + 1}", pruned=pruned)
            finally:
                task.drawn = None
            yield model

    def best_start(self) -> keras.Model:
        """Return the start of the least validation loss, and note them all."""
        section = self.trainer.recipe.training
        found = best_of(
            (section.seed + n, model, self.validation_loss(model))
            for n, model in enumerate(self.several(section.starts))
        )
        rows = [
            (str(seed), f"{loss:.4f}", "kept" if n == found.best else "")
            for n, (seed, loss) in enumerate(
                zip(found.seeds, found.scores, strict=True)
            )
        ]
        record = {
            "seeds": found.seeds,
            "losses": found.scores,
            "best": found.best,
        }
        self.note(
            "starts",
            record,
            ResultTable(
                ("seed", "validation loss", ""),
                tuple(rows),
                f"{found}. The validation data flatter the one they chose.",
            ),
            shown=f".{found.best + 1}",
        )
        return found.model

    def ensemble(self) -> keras.Model:
        """Return the ensemble, or a network that learned from it too."""
        trainer, section = self.trainer, self.trainer.recipe.ensemble
        task = trainer.task
        members = [*self.several(section.members, pruned=not section.distill)]
        models = {
            f"member {n}": model for n, model in enumerate(members, start=1)
        }
        models["ensemble"] = last = combined(members, combine=section.combine)
        if section.distill:
            placement = trainer.placement
            trainer.teacher, _ = placement.enter("teacher", lambda: (last, {}))
            models["distilled"] = last = self.train()
        scores = {
            name: task.score(predicted(model, task))
            for name, model in models.items()
        }
        own = [scores[name] for name in models if name.startswith("member")]
        written = partial(format_score, task.metric)
        self.note(
            "ensemble",
            scores,
            ResultTable(
                ("network", task.metric),
                tuple((name, written(x)) for name, x in scores.items()),
                f"Members: {written(statistics.fmean(own))} ± "
                f"{written(statistics.stdev(own))}, median "
                f"{written(statistics.median(own))}, on the test examples.",
            ),
            shown="" if section.distill else ".1",
        )
        return last

    def validation_loss(self, model: keras.Model) -> float:
        """Return the loss on the validation examples."""
        task = self.trainer.task
        model.compile("sgd", **task.compile_options())
        found = model.evaluate(
            task.batches("validation"), verbose=0, return_dict=True
        )
        return float(found["loss"])

    def note(
        self, key: str, record: Any, table: ResultTable, *, shown: str
    ) -> None:
        """Note in `run.json` and for the report what several trainings were.

        Args:
            key: in `run.json`.
            record: what is kept there.
            table: for the report.
            shown: suffix of the stages whose curves the report shows.
        """
        run, recipe = self.trainer.folder.run, self.trainer.recipe
        count = max(recipe.training.starts, recipe.ensemble.members)
        run[key] = record
        run["other_stages"] = [
            f"{stage}.{number}"
            for stage in ("head", "train")
            for number in range(1, count + 1)
            if f".{number}" != shown
        ]
        heading = key.capitalize()
        run["tables"] = run.get("tables", {}) | {heading: asdict(table)}


def check_trainings(task: Task) -> None:
    """Refuse what a recipe asks of trainings that the data cannot give.

    Raises:
        UserError: there is no validation split to choose a start by, or no
            class to vote on.
    """
    recipe = task.recipe
    if recipe.training.starts > 1 and not len(task.splits.validation):
        raise UserError(
            "training.starts needs validation examples, by which one is kept"
        )
    if recipe.ensemble.combine == "vote" and not task.votes:
        raise UserError(
            f'ensemble.combine = "vote" counts classes, and {task.name} has '
            'none; set ensemble.combine = "mean"'
        )
