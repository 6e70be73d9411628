"""The tables and the plot of the pruning race."""

import statistics

from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.figures import accuracy_by_level
from kbp.benchmarks.core.latencies import latencies, row_of
from kbp.benchmarks.core.log import complete, provenance
from kbp.benchmarks.pruning.methods import METHODS
from kbp.benchmarks.pruning.plan import trials
from kbp.benchmarks.pruning.trial import Protocol

DENSE = ("dense", 0.0)


def summarize(head: dict, results: list[dict]) -> dict[tuple, dict]:
    """Return what is known of each method at each level.

    Args:
        head: the race's first line.
        results: its trainings and measurements.

    Returns:
        For each pair of method and level of which all seeds have finished its
        `row_of` `pruned`, `parameters`, `multiply_adds` and `step_seconds`.
    """
    protocol, measured = Protocol(**head["protocol"]), latencies(results)
    planned = [t for method in METHODS for t in trials(method, protocol)]
    return {
        key: row_of(
            seeds,
            measured,
            *("pruned", "parameters", "multiply_adds", "step_seconds"),
        )
        for key, seeds in complete(results, planned).items()
    }


def markdown_table(head: dict, results: list[dict]) -> str:
    """Return the race as Markdown: two tables, and how it was run."""
    rows = summarize(head, results)
    if not rows:
        return "No method has finished yet."
    return "\n".join(
        [
            *_accuracies(head["protocol"], rows),
            "",
            *_networks(rows),
            "",
            _explanation(head, results),
        ]
    )


def plot(head: dict, results: list[dict]) -> str:
    """Return the accuracy over what is pruned, as SVG text."""
    rows = summarize(head, results)
    panels = {
        "zeros among the weights": False,
        "parameters gone": True,
    }
    dense = rows[DENSE]["accuracies"] if DENSE in rows else ()
    return accuracy_by_level(
        {
            title: {
                name: {
                    row["pruned"]: row["accuracies"]
                    for (method, _), row in rows.items()
                    if method == name
                }
                for name, method in METHODS.items()
                if method.structured == structured and name != DENSE[0]
            }
            for title, structured in panels.items()
        },
        baselines=dict.fromkeys(panels, dense),
        emphasized=[name for name, method in METHODS.items() if method.ours],
    )


def _accuracies(protocol, rows):
    """Return a table with a row for each method, a column for each level."""
    levels = (0.0, *protocol["levels"])
    lines = []
    for name in METHODS:
        own = [rows.get((name, level)) for level in levels]
        if not any(own):
            continue
        step = "-"
        if DENSE in rows:
            seconds = [row["step_seconds"] for row in own if row]
            base = rows[DENSE]["step_seconds"]
            step = f"{statistics.median(seconds) / base:.2f}x"
        spreads = [
            markdown.spread(row["accuracies"]) if row else "-" for row in own
        ]
        lines.append([_name(name), *spreads, step])
    titles = ["method", *(f"{level:.0%}" for level in levels), "training step"]
    return markdown.table(titles, lines)


def _networks(rows):
    """Return a table with a row for each smaller network."""
    titles = [
        *("network", "level", "parameters gone", "multiply-adds"),
        *("accuracy", "accuracy, int8", "float32", "int8"),
        *("float32 file", "int8 file"),
    ]
    lines = []
    base = rows.get(DENSE, {}).get("float32", {}).get("milliseconds")
    for (name, level), row in rows.items():
        if "int8" not in row:
            continue
        files = row["float32"], row["int8"]
        cells = [
            _name(name),
            f"{level:.0%}",
            f"{row['pruned']:.1%}",
            f"{row['multiply_adds'] / 1e6:.2f} M",
            markdown.spread(row["accuracies"]),
            markdown.spread(row["int8"]["accuracies"]),
            *(
                markdown.latency(file.get("milliseconds"), base)
                for file in files
            ),
            *(f"{file['bytes'] / 1e3:,.0f} kB" for file in files),
        ]
        lines.append(cells)
    return markdown.table(titles, lines)


def _explanation(head, results):
    protocol = head["protocol"]
    return (
        f"CIFAR-10, a BatchNorm ResNet-8 of width {protocol['width']} behind a "
        f"stem of stride 2, batches of {protocol['batch_size']}, "
        f"{protocol['steps']} steps for each method, pruning included, flips "
        "and shifts; SGD with Nesterov momentum "
        f"{protocol['momentum']:g}, peak learning rate "
        f"{protocol['learning_rate']:g} and decoupled weight decay "
        f"{protocol['weight_decay']:g} (both chosen for the dense network), "
        f"linear warm-up over {protocol['warmup']:.0%} of the steps and cosine "
        f"to 0. {protocol['seeds']} seeds; all methods of one seed start at "
        "the same weights and see the same batches. Accuracy: mean ± standard "
        "deviation on the whole test set. First table: the level is the share "
        "of exact zeros in all kernels but the first and the last (DTM, TFMOT, "
        "one-shot), or of the whole network's parameters that are gone "
        "(channels). DTM and TFMOT prune gradually between "
        f"{protocol['begin']:.0%} and {protocol['end']:.0%} of the steps, "
        f"TFMOT every {protocol['tfmot_frequency']} steps, on a tf_keras twin; "
        "one-shot removes the smallest weights of all these kernels, L1 the "
        "channels of the least L1 norm, at "
        f"{protocol['cut']:.0%}, and both train on. Training step: processor "
        "time of one thread relative to dense; TFMOT's is that of tf_keras, "
        "whose BatchNormalization is fused. Second table: channels that are "
        'added together go together; L1 and "uniform" take the same share of '
        "each group, DTM alone what its masks decide, and all keep a multiple "
        "of "
        f"{protocol['multiple_of']}. int8: ranges from "
        f"{protocol['calibration_batches']} training batches, not trained "
        "further. Latency of one example by LiteRT at one thread, all files in "
        "turns, and how many times as fast as dense in float32; medians. "
        + provenance(head, results)
    )


def _name(name):
    return f"**{name}**" if METHODS[name].ours else name
