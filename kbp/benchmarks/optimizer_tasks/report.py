"""The tables and the plot of the race on several tasks."""

import statistics

from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.figures import scores_by_step
from kbp.benchmarks.core.log import find_all, provenance
from kbp.benchmarks.optimizer_tasks.contestants import CONTESTANTS
from kbp.benchmarks.optimizer_tasks.plan import badness, finals
from kbp.benchmarks.optimizer_tasks.tasks import TASKS, Task
from kbp.benchmarks.optimizer_tasks.trial import Protocol
from kbp.benchmarks.optimizers.report import SIGNIFICANT, compared, row_of


def summarize(task: str, head: dict, results: list[dict]) -> list[dict]:
    """Return a row for each optimizer that has finished, fewest steps first.

    Args:
        task: name of one.
        head: the race's first line.
        results: its trainings.

    Returns:
        For each optimizer its name, whether it is kbp's, its best point, and of
        the trainings there: `steps` to the target, `inf` for a miss; their
        median; `seconds` of processor time to it; `scores` and `curves`.
    """
    protocol, rows = Protocol(**head["protocol"]), []
    for name, contestant in CONTESTANTS.items():
        planned = finals(task, name, protocol, results)
        runs = find_all(results, planned)
        if not planned or len(runs) < len(planned):
            continue
        row = row_of(runs, ours=contestant.ours)
        rows.append({**row, "scores": [run["score"] for run in runs]})

    def order(row: dict) -> tuple[float, float]:
        each = (badness(task, score) for score in row["scores"])
        return row["median"], statistics.fmean(each)

    return sorted(rows, key=order)


def markdown_table(head: dict, results: list[dict]) -> str:
    """Return the race as Markdown: a table of each task, and how it was run."""
    lines = []
    for name, task in TASKS.items():
        if rows := summarize(name, head, results):
            lines += [*_table(name, task, rows), ""]
    if not lines:
        return "No optimizer has finished yet."
    return "\n".join([*lines, _explanation(head, results)])


def plot(head: dict, results: list[dict]) -> str:
    """Return the scores over the steps of each task, as SVG text."""
    panels = {}
    for name, task in TASKS.items():
        if rows := summarize(name, head, results):
            panels[f"{name}: {task.scored}"] = (
                task.evaluate_every,
                task.target,
                {row["optimizer"]: row["curves"] for row in rows},
            )
    ours = [name for name, x in CONTESTANTS.items() if x.ours]
    return scores_by_step(panels, emphasized=ours)


def _table(name: str, task: Task, rows: list[dict]) -> list[str]:
    first = next((row for row in rows if row["ours"]), rows[0])
    titles = [
        f"{name}, to {task.target:g}",
        *("steps", "processor time"),
        f"steps saved by {first['optimizer']}",
        *(f"{task.scored} at the end", "learning rate", "decay"),
    ]
    return markdown.table(titles, (_cells(row, first, task) for row in rows))


def _cells(row: dict, first: dict, task: Task) -> list[str]:
    return [
        *compared(row, first, task.steps + task.evaluate_every),
        markdown.spread(row["scores"], ".4f"),
        f"{row['learning_rate']:g}",
        f"{row['weight_decay']:g}",
    ]


def _explanation(head: dict, results: list[dict]) -> str:
    protocol = Protocol(**head["protocol"])
    told = {result["task"] for result in results}
    tasks = "; ".join(
        f"{name}: {task.words}, {task.steps} steps of {task.batch_size}, "
        f"looked at every {task.evaluate_every}"
        for name, task in TASKS.items()
        if name in told
    )
    of_optax = ", ".join(
        f'"{name}"' for name, x in CONTESTANTS.items() if x.library == "optax"
    )
    return (
        f"{tasks}. Linear warm-up over a tenth of the steps and cosine to 0 "
        "(schedule-free: constant, evaluated at its average); decoupled decay "
        "of kernels alone; no weights are averaged else. Learning rate and "
        f"decay: the best on validation of {protocol.trials} quasi-random "
        "trials for each, over two decades of learning rate and two and a half "
        f"of its product with the decay. With these {protocol.seeds} seeds: "
        "median (least - most) of the steps to the target on the test split, "
        "`inf` is a miss; mean ± standard deviation of the score there at the "
        "end. Processor time is that of one thread, evaluation and compilation "
        "aside. s.e.: difference of the mean steps in standard errors, a miss "
        "counted as one look more than there are; "
        f"{SIGNIFICANT} or more is a difference. Steps saved are those of the "
        f"best of kbp's rows. All train in JAX by Keras; {of_optax} are "
        "optax's. The flattened Muon has "
        "kernels of convolutions as matrices, embeddings and the last layers "
        "by Adam, and steps as large as Adam's, for one learning rate of all; "
        "HybridOptimizer's matrix steps are of the same kernels; Keras's Muon "
        "also gives kernels that are not 2-D to its AdamW. The last layers are "
        'those of all scales in "segmentation", and the linear skip too in '
        '"forecast". ' + provenance(head, results)
    )
