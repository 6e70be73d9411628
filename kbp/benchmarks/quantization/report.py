"""The table and the plot of the quantization race."""

import statistics

from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.figures import score_over_cost
from kbp.benchmarks.core.latencies import latencies
from kbp.benchmarks.core.log import complete, provenance
from kbp.benchmarks.quantization.methods import FLOAT, METHODS
from kbp.benchmarks.quantization.networks import NETWORKS
from kbp.benchmarks.quantization.plan import trials
from kbp.benchmarks.quantization.trial import Protocol


def summarize(head: dict, results: list[dict]) -> dict[str, dict[str, dict]]:
    """Return what is known of each method on each network.

    Args:
        head: the race's first line.
        results: its trials and measurements.

    Returns:
        For each network and method of which all seeds have finished:
        `accuracies` of the seeds, and medians of the other figures of a trial
        and of `milliseconds`, as far as they are known.
    """
    protocol, measured = Protocol(**head["protocol"]), latencies(results)
    planned = [t for network in NETWORKS for t in trials(network, protocol)]
    rows: dict[str, dict] = {}
    for (network, method), seeds in complete(results, planned).items():
        rows.setdefault(network, {})[method] = _row(seeds, measured)
    return rows


def _row(seeds, measured):
    row = {"accuracies": [r["accuracy"] for r in seeds]}
    times = [measured[r["file"]][1] for r in seeds if r["file"] in measured]
    if len(times) == len(seeds):
        row["milliseconds"] = statistics.median(times)
    for key in (
        *("bytes", "parameters", "float_operations", "step_seconds"),
        *("within_one", "within_one_reference"),
    ):
        values = [r[key] for r in seeds if key in r]
        if values:
            row[key] = statistics.median(values)
    return row


def markdown_table(head: dict, results: list[dict]) -> str:
    """Return the race as Markdown: a table, and how it was run."""
    rows = summarize(head, results)
    if not rows:
        return "No method has finished yet."
    lines = []
    for network, methods in rows.items():
        for name, row in methods.items():
            cells = _cells(row, methods.get(FLOAT, {}))
            title = f"{network}: {name}" if name == FLOAT else name
            bold = f"**{title}**" if METHODS[name].ours else title
            lines.append([bold, *cells])
    titles = [
        *("network and method", "accuracy", "of float32's", "file", "latency"),
        *("one step or less apart", "training step"),
    ]
    table = markdown.table(titles, lines)
    return "\n".join([*table, "", _explanation(head, results)])


def plot(head: dict, results: list[dict]) -> str:
    """Return accuracy over speed-up for each network, as SVG text."""
    rows = summarize(head, results)
    return score_over_cost(
        {
            network: {
                name: (
                    methods[FLOAT]["milliseconds"] / row["milliseconds"],
                    row["accuracies"],
                )
                for name, row in methods.items()
                if "milliseconds" in row
            }
            for network, methods in rows.items()
            if "milliseconds" in methods.get(FLOAT, {})
        },
        score="accuracy",
        cost="speed-up",
        emphasized=[name for name, method in METHODS.items() if method.ours],
    )


def _cells(row, base):
    """Return the cells of a method, relative to the network in float32."""
    kept = size = latency = step = "-"
    if base:
        means = [statistics.fmean(x["accuracies"]) for x in (row, base)]
        kept = f"{means[0] / means[1]:.2%}"
        size = f" ({row['bytes'] / base['bytes']:.2f})"
    if "milliseconds" in row and "milliseconds" in base:
        ratio = base["milliseconds"] / row["milliseconds"]
        latency = f"{row['milliseconds']:.3f} ms ({ratio:.2f}x)"
    if "step_seconds" in row and "step_seconds" in base:
        step = f"{row['step_seconds'] / base['step_seconds']:.2f}x"
    shares = [row.get(key) for key in ("within_one", "within_one_reference")]
    known = row is not base and None not in shares
    return [
        markdown.spread(row["accuracies"]),
        kept,
        f"{row['bytes'] / 1e3:,.0f} kB{size}",
        latency,
        " / ".join(f"{share:.2%}" for share in shares) if known else "-",
        step,
    ]


def _explanation(head, results):
    protocol = head["protocol"]
    batches = protocol["calibration_batches"]
    rates = ", ".join(
        f"{name} {network.learning_rate:g}"
        for name, network in NETWORKS.items()
    )
    return (
        "CIFAR-10. Each network is trained in float for "
        f"{protocol['steps']} steps of {protocol['batch_size']} images (SGD, "
        "Nesterov momentum 0.9, warm-up and cosine, peak learning rates: "
        f"{rates}); all methods of one seed start from its weights. In "
        '"unbalanced" they are then multiplied by factors between 1/16 and 16 '
        "for each depthwise channel and divided out of the next kernel, which "
        "changes no result in float. PTQ: "
        f"ranges from {batches} training batches. QAT: these batches set kbp's "
        f"ranges, then {protocol['fine_steps']} steps at "
        f"{protocol['fine_rate']:g} of the peak rate, the same for TFMOT, on a "
        "tf_keras twin, whose ranges begin where its guide has them. DTM "
        f"removes {protocol['level']:.0%} of the parameters in a training of "
        "its own from the first weights on. Accuracy: of the file, by LiteRT, "
        f"on the whole test set; mean ± standard deviation of "
        f"{protocol['seeds']} seeds. Latency of one image by LiteRT at one "
        "thread, all files in turns, and how many times as fast as float32; "
        "medians. One step or less apart: share of the outputs of "
        f"{protocol['verified']:,} test images that differ from the "
        "fake-quantized Keras model's by at most one integer step, with "
        "XNNPACK and with LiteRT's reference kernels. Training step: processor "
        "time of one thread relative to the network in float with Keras. "
        + provenance(head, results)
    )
