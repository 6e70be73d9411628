"""The table and the plot of the segmentation race."""

import statistics

import numpy as np
from scipy import stats

from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.figures import score_over_cost
from kbp.benchmarks.core.latencies import latencies, timed_on
from kbp.benchmarks.core.log import complete, provenance
from kbp.benchmarks.segmentation.plan import trials
from kbp.benchmarks.segmentation.trial import NETWORKS, Protocol


def summarize(head: dict, results: list[dict]) -> dict[str, dict[str, dict]]:
    """Return what is known of each network on each data set.

    Args:
        head: the race's first line.
        results: its trainings and measurements.

    Returns:
        For each data set and network of which all trainings have finished:
        `dice` of each training, a fold's or a seed's, the mean over its test
        images, in the same order for all networks; `int8`, the same of the int8
        file; means `iou` and `pooled`; `parameters`, `multiply_adds`; medians
        of `step_seconds` and, as far as they are known, of `milliseconds` of
        the float32 and the int8 file.
    """
    protocol, measured = Protocol(**head["protocol"]), latencies(results)
    planned = [t for network in NETWORKS for t in trials(network, protocol)]
    rows: dict[str, dict] = {}
    for (network, data), runs in complete(results, planned).items():
        rows.setdefault(data, {})[network] = _row(runs, measured)
    return rows


def _row(runs, measured):
    names = [[f["name"] for f in run["files"].values()] for run in runs]
    row = {
        "dice": np.array([np.mean(run["dice"]) for run in runs]),
        "int8": np.array([np.mean(r["files"]["int8"]["dice"]) for r in runs]),
        "iou": statistics.fmean(np.concatenate([run["iou"] for run in runs])),
        "pooled": statistics.fmean(run["pooled"] for run in runs),
        "parameters": runs[0]["parameters"],
        "multiply_adds": runs[0]["multiply_adds"],
        "step_seconds": statistics.median(run["step_seconds"] for run in runs),
    }
    if all(name in measured for pair in names for name in pair):
        row["milliseconds"] = [
            statistics.median(measured[name][1] for name in column)
            for column in zip(*names, strict=True)
        ]
    return row


def markdown_table(head: dict, results: list[dict]) -> str:
    """Return the race as Markdown: a table, and how it was run."""
    rows = summarize(head, results)
    if not rows:
        return "No network has finished yet."
    lines = []
    for data, networks in rows.items():
        first = next(iter(networks.values()))
        for i, (name, row) in enumerate(networks.items()):
            title = name if i else f"{data}: {name}"
            bold = f"**{title}**" if NETWORKS[name].ours else title
            lines.append([bold, *_cells(row, first)])
    titles = [
        *("data and network", "Dice", "the first minus this, 95%", "IoU"),
        *("pooled Dice", "Dice, int8", "parameters", "multiply-adds"),
        *("float32", "int8"),
    ]
    table = markdown.table(titles, lines)
    return "\n".join([*table, "", _explanation(head, results)])


def plot(head: dict, results: list[dict]) -> str:
    """Return Dice over multiply-adds for each data set, as SVG text."""
    return score_over_cost(
        {
            data: {
                name: (row["multiply_adds"] / 1e9, row["dice"])
                for name, row in networks.items()
            }
            for data, networks in summarize(head, results).items()
        },
        score="Dice",
        cost="billion multiply-adds",
        emphasized=[name for name, network in NETWORKS.items() if network.ours],
    )


def _cells(row, first):
    less = "-"
    if row is not first and len(row["dice"]) > 1:
        low, high = interval(first["dice"] - row["dice"])
        less = f"{low:+.2%} to {high:+.2%}"
    times = ["-", "-"]
    if "milliseconds" in row and "milliseconds" in first:
        base = row["milliseconds"][0]
        times = [
            f"{base:.2f} ms",
            f"{row['milliseconds'][1]:.2f} ms "
            f"({base / row['milliseconds'][1]:.2f}x)",
        ]
    return [
        markdown.spread(row["dice"]),
        less,
        f"{row['iou']:.2%}",
        f"{row['pooled']:.2%}",
        f"{np.mean(row['int8']):.2%}",
        f"{row['parameters'] / 1e3:,.0f} k",
        f"{row['multiply_adds'] / 1e6:,.0f} M",
        *times,
    ]


def interval(differences: np.ndarray) -> tuple[float, float]:
    """Return the 95 % confidence interval of a mean of paired differences."""
    if np.ptp(differences) == 0:
        return float(differences[0]), float(differences[0])
    found = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    return float(found.low), float(found.high)


def _explanation(head, results):
    protocol = head["protocol"]
    size = protocol["crop_size"]
    return (
        "All networks under one recipe: crops of "
        f"{size}x{size} pixels, batches of {protocol['batch_size']}, "
        f"{protocol['steps']} steps of HybridOptimizer with matrix steps and "
        f"averaged weights (peak learning rate {protocol['learning_rate']:g}, "
        f"decay {protocol['weight_decay']:g}, chosen in pilots of U-Net 16 and "
        f"Pyramid-BPNet, see kbp/benchmarks/results/README.md; linear "
        f"warm-up over {protocol['warmup']:.0%} of the steps and cosine to 0), "
        "cross-entropy and Dice, turns, zoom, elastic fields, intensity. "
        "Judged on whole images. dsb2018: 80 / 10 / 10 by hash, "
        f"{protocol['seeds']} seeds; isbi2012: five folds of consecutive "
        "slices. Dice and IoU of nuclei and of membranes: means over the test "
        "images, ± the standard deviation of the trainings; pooled: of all "
        "their pixels. The first minus this: paired over the trainings, "
        "t-distribution. int8: ranges from "
        f"{protocol['calibration_images']} training images, not trained "
        "further. Multiply-adds and latency of one whole image, by LiteRT at "
        "one thread, all files in turns in one measurement on "
        f"{timed_on(head, results)}; medians. " + provenance(head, results)
    )
