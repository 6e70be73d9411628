"""The masks of a run: their schedule, and the latencies that it may need."""

import keras
from rich.console import Console

from kbp import export
from kbp._utils.run_files import LATENCY_TABLE
from kbp.errors import UserError
from kbp.recipes.recipe import Recipe
from kbp.recipes.sections import SparsityRecipe
from kbp.sparsity import DTMSchedule
from kbp.training.distribution import num_workers
from kbp.training.workdir import WorkDir


def keep(table: export.LatencyTable | None, folder: WorkDir) -> None:
    """Write a run's table into its folder, for what goes on with it.

    Args:
        table: if the run has one.
        folder: of the run.
    """
    if table:
        table.save(folder.path / LATENCY_TABLE)


def latency_table(
    model: keras.Model,
    recipe: Recipe,
    folder: WorkDir | None,
    console: Console,
) -> export.LatencyTable | None:
    """Return the table by which a recipe's masks close; `None` if by none.

    A run measures once: what goes on with it prunes by the same figures.

    Args:
        model: without masks.
        recipe: of the run.
        folder: of the run, which holds the table once it has begun.
        console: where it is said that this takes its time.

    Raises:
        UserError: the run has several workers, which would measure each for
            itself, or the model cannot be exported.
    """
    section = recipe.sparsity
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
            num_threads=recipe.export.num_threads,
        )
    except ValueError as error:
        raise UserError(f"[sparsity] measure: {error}") from error


def pruning_schedule(
    section: SparsityRecipe, table: export.LatencyTable | None = None
) -> DTMSchedule | None:
    """Return the schedule of a recipe's masks; `None` if it has none.

    Args:
        section: `[sparsity]` of the recipe.
        table: of the model's latencies, with the measure "latency".
    """
    if not section.target:
        return None
    return DTMSchedule(
        section.target,
        measure=section.measure,
        table=table,
        begin=section.begin,
        end=section.end,
        budget=section.budget,
        multiple_of=section.multiple_of,
    )
