"""How a run prunes: what leaves first, the masks, and their schedule."""

import keras
import tensorflow as tf
from rich.console import Console

from kbp import export, graph, sparsity
from kbp._utils.run_files import LATENCY_TABLE
from kbp.errors import UserError
from kbp.sparsity import DTMSchedule
from kbp.sparsity.branches import check_branches
from kbp.sparsity.unmasked import in_words, left_out
from kbp.tasks import Task
from kbp.training.distribution import num_workers
from kbp.training.workdir import WorkDir

# Training batches that tell what branches and channels are worth.
_BATCHES = 30


class Pruning:
    """How a run prunes.

    Args:
        task: with the recipe and the data.
        model: as the task builds it.
        folder: of the run; `None` to train nothing.
        console: where it is said what takes its time.

    Attributes:
        removes_channels: whether fewer channels are left, and not zeros.
        left_out: a sentence on what has no masks.

    Raises:
        UserError: the model cannot lose what the recipe asks for, or is not
            trained where the recipe asks what a trained one needs.
    """

    def __init__(
        self,
        task: Task,
        model: keras.Model,
        folder: WorkDir | None,
        console: Console,
    ):
        self.task, self.console = task, console
        self.section = section = task.recipe.sparsity
        self.whole = model if section.branches else None
        kind = section.granularity
        self.removes_channels = bool(section.target) and kind == "channel"
        self.left_out = ""
        if section.target:
            reasons = left_out(model, granularity=kind, skip=section.skip)
            what = "channels" if kind == "channel" else "weights"
            self.left_out = in_words(reasons, what)
        self._check_trained()
        self.table = _latency_table(task, model, folder, console)
        if section.branches:
            share, measure = section.branches, section.measure
            try:
                check_branches(model, share, measure, self.table)
            except UserError as error:
                raise UserError(f"[sparsity] branches: {error}") from error

    def _check_trained(self) -> None:
        """Refuse what only a trained network can tell."""
        section = self.section
        given = self.task.given() is not None
        if section.branches and not given:
            raise UserError(
                "sparsity.branches asks what a trained network can spare, and "
                "this one is new. Set it to 0, or prune a trained network by "
                "kbp.compress"
            )
        frozen = self.task.recipe.training.frozen_epochs
        if section.scores == "taylor" and not (given or frozen):
            raise UserError(
                'sparsity.scores = "taylor" asks what a trained network needs, '
                'and this one is new. Set "magnitude", or prune a trained '
                "network by kbp.compress or training.frozen_epochs"
            )

    def keep(self, folder: WorkDir) -> None:
        """Write the table of latencies, if there is one, into a run's folder.

        What goes on with the run prunes by the same figures.
        """
        if self.table:
            self.table.save(folder.path / LATENCY_TABLE)

    def begin(self, model: keras.Model) -> keras.Model:
        """Return a trained model with masks, after what leaves first."""
        section = self.section
        if section.branches:
            self.console.print("Choosing the branches that can be spared ...")
            model = sparsity.drop_branches(
                self._compiled(model),
                self._batches(),
                share=section.branches,
                measure=section.measure,
                table=self.table,
            )
        masked = self.masked(model)
        if section.target and section.scores == "taylor":
            sparsity.score_by_taylor(self._compiled(masked), self._batches())
        return masked

    def schedule(self) -> DTMSchedule | None:
        """Return a new schedule of the masks; `None` if there are none."""
        section = self.section
        if not section.target:
            return None
        return DTMSchedule(
            section.target,
            measure=section.measure,
            table=self.table,
            whole=self.whole,
            begin=section.begin,
            end=section.end,
            budget=section.budget,
            multiple_of=section.multiple_of,
        )

    def pruned(self, model: keras.Model) -> keras.Model:
        """Return a trained model without masks and what they removed."""
        if self.removes_channels:
            multiple_of = self.section.multiple_of
            return sparsity.shrink(model, multiple_of=multiple_of)
        return sparsity.strip(model)

    def whole_of(self, trained: keras.Model) -> keras.Model | None:
        """Return the network whose files are larger; `None` if none is.

        Args:
            trained: the model with masks, as it was trained.
        """
        if not self.removes_channels:
            return None
        return self.task.given() if self.section.branches else trained

    def masked(self, model: keras.Model) -> keras.Model:
        """Return a model with masks if the recipe asks for zeros.

        Raises:
            UserError: the masks cannot reach the target.
        """
        schedule = self.schedule()
        if not schedule:
            return model
        section = self.section
        try:
            masked = sparsity.apply_dtm(
                model, granularity=section.granularity, skip=section.skip
            )
            schedule.check(masked)
            return masked
        except ValueError as error:
            raise UserError(f"[sparsity] {error}") from error

    def _compiled(self, model: keras.Model) -> keras.Model:
        """Return a model of the same weights that knows the task's loss."""
        same = graph.plain(model)
        options = dict(self.task.compile_options())
        for key in ("metrics", "weighted_metrics"):
            options.pop(key, None)
        same.compile("sgd", **options)
        return same

    def _batches(self) -> tf.data.Dataset:
        seed = self.task.recipe.training.seed
        return self.task.training_batches(seed=seed).take(_BATCHES).cache()


def _latency_table(
    task: Task, model: keras.Model, folder: WorkDir | None, console: Console
) -> export.LatencyTable | None:
    """Return the table by which masks close; `None` if by none.

    A run measures once.

    Args:
        task: with the recipe.
        model: without masks.
        folder: of the run, which holds the table once it has begun.
        console: where it is said that this takes its time.

    Raises:
        UserError: the run has several workers, which would measure each for
            itself, or the model cannot be exported.
    """
    section = task.recipe.sparsity
    if not section.target or section.measure != "latency":
        return None
    if num_workers(default=1) > 1:
        raise UserError(
            'sparsity.measure="latency" is measured on one machine, and this '
            "run has several workers. Train with one, or by another measure."
        )
    if folder and (folder.path / LATENCY_TABLE).exists():
        return export.LatencyTable.load(folder.path / LATENCY_TABLE)
    console.print("Measuring what the network's operations take ...")
    try:
        return export.latency_table(
            model,
            dtype=section.latency_dtype,
            num_threads=task.recipe.export.num_threads,
        )
    except ValueError as error:
        raise UserError(f"[sparsity] measure: {error}") from error
