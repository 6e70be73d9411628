"""The tables and the plot of the race from a trained network."""

from typing import Any

from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.figures import accuracy_by_level
from kbp.benchmarks.core.latencies import latencies, row_of, timed_on
from kbp.benchmarks.core.log import complete, provenance
from kbp.benchmarks.pruning_trained.dtm import BRANCHES, RECOVERY
from kbp.benchmarks.pruning_trained.methods import DENSE, METHODS
from kbp.benchmarks.pruning_trained.plan import levels, trials
from kbp.benchmarks.pruning_trained.training import Protocol

_DTYPES = ("float32", "int8")
_BASE = (DENSE, 1.0)
Rows = dict[tuple[str, float], dict[str, Any]]


def summarize(head: dict, results: list[dict]) -> Rows:
    """Return what is known of each method at each level.

    Args:
        head: the race's first line.
        results: its trainings and measurements.

    Returns:
        For each pair of method and level of which all seeds have finished its
        `row_of` `parameters`, `multiply_adds` and `zeros`.
    """
    protocol, measured = Protocol(**head["protocol"]), latencies(results)
    planned = [t for m in (DENSE, *METHODS) for t in trials(m, protocol)]
    done = complete(results, planned)
    keys = "parameters", "multiply_adds", "zeros"
    return {key: row_of(runs, measured, *keys) for key, runs in done.items()}


def markdown_table(head: dict, results: list[dict]) -> str:
    """Return the race as Markdown: two tables, and how it was run."""
    rows = summarize(head, results)
    if not rows:
        return "No method has finished yet."
    return "\n".join(
        [
            *_channels(rows),
            "",
            *_zeros(Protocol(**head["protocol"]), rows),
            "",
            _explanation(head, results),
        ]
    )


def plot(head: dict, results: list[dict]) -> str:
    """Return the accuracy over the milliseconds of a file, as SVG text."""
    rows = summarize(head, results)
    accuracies = {
        "float32": lambda row: row["accuracies"],
        "int8": lambda row: row["int8"]["accuracies"],
    }
    return accuracy_by_level(
        {
            f"milliseconds, {dtype}": {
                name: points
                for name, method in METHODS.items()
                if method.structured
                and (
                    points := {
                        row[dtype]["milliseconds"]: accuracies[dtype](row)
                        for (other, _), row in rows.items()
                        if other == name and "milliseconds" in row[dtype]
                    }
                )
            }
            for dtype in _DTYPES
        },
        baselines={
            f"milliseconds, {dtype}": accuracies[dtype](rows[_BASE])
            for dtype in _DTYPES
            if _BASE in rows
        },
        emphasized=[name for name, method in METHODS.items() if method.ours],
        shares=False,
    )


def _channels(rows: Rows) -> list[str]:
    """Return a table with a row for each network with fewer channels."""
    titles = [
        *("method", "level", "accuracy", "accuracy, int8", "float32", "int8"),
        *("parameters", "multiply-adds", "float32 file", "int8 file"),
    ]
    base = rows.get(_BASE, {}).get("float32", {}).get("milliseconds")
    lines = []
    for (name, level), row in sorted(rows.items(), key=lambda x: x[0][1]):
        if "int8" not in row:
            continue
        files = [row[dtype] for dtype in _DTYPES]
        lines.append(
            [
                _name(name),
                f"{level:g}x",
                markdown.spread(row["accuracies"]),
                markdown.spread(row["int8"]["accuracies"]),
                *(
                    markdown.latency(file.get("milliseconds"), base)
                    for file in files
                ),
                f"{row['parameters']:,.0f}",
                f"{row['multiply_adds'] / 1e6:.2f} M",
                *(f"{file['bytes'] / 1e3:,.0f} kB" for file in files),
            ]
        )
    return markdown.table(titles, lines)


def _zeros(protocol: Protocol, rows: Rows) -> list[str]:
    """Return a table with a row for each method that makes zeros."""
    titles = ["zeros among the weights", *(f"{x:.0%}" for x in protocol.zeros)]
    names = [name for name, method in METHODS.items() if not method.structured]
    lines = []
    for name in names:
        own = [rows.get((name, level)) for level in levels(name, protocol)]
        cells = [
            markdown.spread(row["accuracies"]) if row else "-" for row in own
        ]
        lines.append([_name(name), *cells])
    return markdown.table(titles, lines)


def _explanation(head: dict, results: list[dict]) -> str:
    protocol = Protocol(**head["protocol"])
    depth = 6 * protocol.blocks + 2
    return (
        f"CIFAR-10, a BatchNorm ResNet-{depth} of width {protocol.width} "
        f"behind a stem of stride 2, batches of {protocol.batch_size}, flips "
        "and shifts; for all trainings `HybridOptimizer` with matrix steps, "
        f"decoupled weight decay {protocol.weight_decay:g}, linear warm-up "
        f"over {protocol.warmup:.0%} of the steps and cosine to 0. Dense: "
        f"{protocol.dense_steps} steps, peak learning rate "
        f"{protocol.learning_rate:g}; {protocol.seeds} seeds, one dense "
        "network each, from which all methods begin and train for "
        f"{protocol.steps} more steps, pruning included, peak learning rate "
        f"{protocol.pruning_rate:g}; 'narrower' trains from new weights for "
        "all these steps, at the dense network's rate. In the steps after "
        "the dense network's, all also learn from its outputs (weight "
        f"{protocol.distillation:g}, temperature {protocol.temperature:g}). "
        "The level is the speed-up in float32 that a method prunes for, by "
        "`kbp.export.latency_table`; channels stay in multiples of "
        f"{protocol.multiple_of}. DTM begins with Taylor scores of "
        f"{protocol.score_steps} batches and chooses by the knapsack, within "
        f"{protocol.end:.0%} of its steps; 'by latency' first leaves whole "
        "residual branches out, the next that without which the loss on these "
        "batches rises least for what it takes, until the speed-up is the "
        f"asked one to the power of {BRANCHES:.2g}, and trains for "
        f"{RECOVERY:.0%} of the steps after each; 'by parameters' for the "
        "parameters that go. L1 uniform: the channels of the least L1 norm, "
        "the same share of each layer, at once, which goes in steps: the "
        "nearest to the asked speed-up. Group Taylor: in "
        f"{protocol.rounds} rounds, the least scores of all layers (Molchanov "
        "et al. 2019). Group magnitude: at once, the least squares of a "
        "group's kernels and scales, relative to the layer's mean (as in "
        "DepGraph, Fang et al. 2023). Zeros: DTM gradually, one-shot at once, "
        "in all kernels but the first and the last. Accuracy: mean ± standard "
        "deviation on the whole test set. "
        f"int8: ranges from {protocol.calibration_batches} training "
        "batches, not trained further. Latency of one example by LiteRT at "
        "one thread, all files in turns, and how many times as fast as dense "
        f"in float32; medians, on {timed_on(head, results)}. "
        + provenance(head, results)
    )


def _name(name: str) -> str:
    ours = name in METHODS and METHODS[name].ours
    return f"**{name}**" if ours else name
