"""The table and the plot of the optimizer race."""

import math
import statistics

from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.figures import accuracy_by_step
from kbp.benchmarks.core.log import find_all, provenance
from kbp.benchmarks.optimizers.contestants import CONTESTANTS
from kbp.benchmarks.optimizers.plan import finals
from kbp.benchmarks.optimizers.trial import Protocol

# Of a difference in means, in standard errors; what AlgoPerf's and
# modded-nanogpt's rules ask for.
SIGNIFICANT = 3.09


def summarize(head: dict, results: list[dict]) -> list[dict]:
    """Return a row for each optimizer that has finished, fewest steps first.

    Args:
        head: the race's first line.
        results: its trainings.

    Returns:
        For each optimizer its name, whether it is kbp's, its best point, and of
        the trainings there: `steps` to the target, `inf` for a miss, in each;
        their median; the processor's seconds to the target at the median; the
        accuracies.
    """
    protocol, rows = Protocol(**head["protocol"]), []
    for name, contestant in CONTESTANTS.items():
        planned = finals(name, protocol, results)
        runs = find_all(results, planned)
        if not planned or len(runs) < len(planned):
            continue
        row = row_of(runs, ours=contestant.ours)
        rows.append({**row, "accuracies": [run["accuracy"] for run in runs]})
    return sorted(
        rows, key=lambda r: (r["median"], -statistics.fmean(r["accuracies"]))
    )


def row_of(runs: list[dict], *, ours: bool) -> dict:
    """Return what a table says of an optimizer, but for its final scores.

    Args:
        runs: its trainings at its best point.
        ours: whether it is kbp's.
    """
    steps = [run["steps_to_target"] or math.inf for run in runs]
    median = statistics.median(steps)
    return {
        "optimizer": runs[0]["optimizer"],
        "ours": ours,
        "learning_rate": runs[0]["learning_rate"],
        "weight_decay": runs[0]["weight_decay"],
        "steps": steps,
        "median": median,
        "seconds": median * statistics.median(run["seconds"] for run in runs),
        "curves": [run["curve"] for run in runs],
    }


def standard_errors(ours: dict, peer: dict, late: int) -> float:
    """Return by how many standard errors one row needs fewer steps.

    Args:
        ours: a row of `summarize`, of two seeds or more.
        peer: another.
        late: what a miss counts as; it is at least that.
    """
    a, b = ([min(s, late) for s in row["steps"]] for row in (ours, peer))
    spread = math.sqrt((statistics.variance(a) + statistics.variance(b)) / 2)
    difference = statistics.fmean(b) - statistics.fmean(a)
    if spread == 0:
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / (spread * math.sqrt(1 / len(a) + 1 / len(b)))


def markdown_table(head: dict, results: list[dict]) -> str:
    """Return the race as Markdown: a table, and how it was run."""
    rows = summarize(head, results)
    if not rows:
        return "No optimizer has finished yet."
    first = next((row for row in rows if row["ours"]), rows[0])
    late = _late(head["protocol"])
    titles = [
        *("optimizer", "steps to target", "processor time"),
        f"steps saved by {first['optimizer']}",
        *("final accuracy", "learning rate", "decay"),
    ]
    table = markdown.table(titles, (_cells(row, first, late) for row in rows))
    return "\n".join([*table, "", _explanation(head, results)])


def plot(head: dict, results: list[dict]) -> str:
    """Return the accuracy over the steps of all optimizers, as SVG text."""
    protocol = head["protocol"]
    rows = summarize(head, results)
    return accuracy_by_step(
        {row["optimizer"]: row["curves"] for row in rows},
        every=protocol["evaluate_every"],
        target=protocol["target"],
        emphasized=[row["optimizer"] for row in rows if row["ours"]],
    )


def _late(protocol):
    """Return the steps that a miss counts as."""
    return protocol["steps"] + protocol["evaluate_every"]


def compared(row: dict, first: dict, late: int) -> list[str]:
    """Return the first cells of an optimizer: its steps, and those saved.

    Args:
        row: of `summarize`, the optimizer's.
        first: that of the best of kbp's.
        late: what a miss counts as, in steps.
    """
    fewer = "-"
    if row is not first:
        ours, theirs = (min(r["median"], late) for r in (first, row))
        least = "at least " if row["median"] > late else ""
        fewer = f"{least}{1 - ours / theirs:.0%}"
        if min(len(r["steps"]) for r in (first, row)) > 1:
            errors = standard_errors(first, row, late)
            sure = "" if abs(errors) >= SIGNIFICANT else " (not significant)"
            fewer = f"{fewer}, {errors:.1f} s.e.{sure}"
    return [
        f"**{row['optimizer']}**" if row["ours"] else row["optimizer"],
        f"{_steps(row['median'])} ({_steps(min(row['steps']))} - "
        f"{_steps(max(row['steps']))})",
        "-" if math.isinf(row["seconds"]) else f"{row['seconds']:.0f} s",
        fewer,
    ]


def _cells(row, first, late):
    return [
        *compared(row, first, late),
        markdown.spread(row["accuracies"]),
        f"{row['learning_rate']:g}",
        f"{row['weight_decay']:g}",
    ]


def _explanation(head, results):
    protocol = head["protocol"]
    return (
        f"CIFAR-10, a BatchNorm ResNet-8 of width {protocol['width']} behind a "
        f"stem of stride 2, batches of {protocol['batch_size']}, "
        f"{protocol['steps']} steps, flips and shifts, linear warm-up over "
        f"{protocol['warmup']:.0%} of the steps and cosine to 0 "
        "(ScheduleFreeAdamW: constant). Target: "
        f"{protocol['target']:.0%} on the first {protocol['curve_images']:,} "
        f"test images, looked at every {protocol['evaluate_every']} steps. "
        "Learning rate and decay: the best on validation images of "
        f"{protocol['trials']} quasi-random trials for each, over two decades "
        "of learning rate and two and a half of its product with the decay. "
        "With "
        f"these {protocol['seeds']} seeds: median (least - most) of the "
        "steps, `inf` is a miss; mean ± standard deviation of the final "
        "accuracy on the whole test set. Processor time is that of one thread. "
        "s.e.: difference of the mean steps in standard errors, a miss counted "
        f"as {_late(protocol)}; {SIGNIFICANT} or more is a difference. "
        '"averaged": evaluated with a moving average of the weights (momentum '
        "0.9), as every Keras optimizer can keep it. Steps saved are those of "
        "the best "
        "of kbp's rows. Keras's Muon gives convolution kernels to its AdamW; "
        "ScheduleFreeAdamW is evaluated at the weights that Keras leaves in "
        "the model. " + provenance(head, results)
    )


def _steps(steps):
    return "inf" if math.isinf(steps) else f"{steps:g}"
