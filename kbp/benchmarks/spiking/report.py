"""The table and the plot of the race of spiking networks."""

import statistics
from itertools import chain

import matplotlib
from matplotlib.figure import Figure

from kbp._utils.style import COLORS, INK, STYLE, as_svg
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.log import complete, provenance
from kbp.benchmarks.spiking.plan import plan
from kbp.benchmarks.spiking.trial import CIFAR10, DIGITS, SOURCE, Protocol

TITLES = {DIGITS: "digits", CIFAR10: "CIFAR-10"}
_PEERS = (
    "Published, on CIFAR-10, with other networks and protocols: Sengupta et "
    "al., 2019, convert a ResNet-20 of 89.1% to 87.5%; the code of Bu et al., "
    "2022 (QCFS, as clip-floor-shift), states 90.9% after 2 steps and 94.0% "
    "after 4 of a VGG-16."
)


def summarize(head: dict, results: list[dict]) -> dict[tuple, list[dict]]:
    """Return the results of each data set, method and time with all seeds."""
    protocol = Protocol(**head["protocol"])
    groups = plan([*TITLES], protocol, results)
    return complete(results, chain.from_iterable(groups))


def markdown_table(head: dict, results: list[dict]) -> str:
    """Return the race as Markdown: a table, and how it was run."""
    rows = summarize(head, results)
    if not rows:
        return "No network has finished yet."
    titles = [
        *("data", "network", "steps", "accuracy", "points from the source"),
        *("spikes", "additions", "energy", "dense energy"),
    ]
    cells = [_cells(key, rows) for key in rows]
    protocol = Protocol(**head["protocol"])
    counts = {
        TITLES[name]: found[0]["images"]
        for (name, method, _), found in rows.items()
        if method != SOURCE
    }
    images = " and ".join(f"{n:,} of {name}" for name, n in counts.items())
    text = (
        f"Digits: convolutions of {protocol.width} and {2 * protocol.width} "
        f"channels and a dense layer of {4 * protocol.width} units, average "
        f"pooling, {protocol.image_size}x{protocol.image_size} pixels, "
        f"{protocol.epochs} epochs. CIFAR-10: the dense networks of the race "
        f"of trained pruning, on the first {protocol.images:,} test images. "
        f"Mean and standard deviation of {protocol.seeds} seeds, differences "
        "by seed; spikes, additions and energy are those of one image, in the "
        f"mean of test images ({images or 'none yet'}). "
        f"Converted: thresholds are the percentile {protocol.percentile:g} of "
        "each ReLU's values, and nothing is trained; of CIFAR-10 the answer is "
        f"the mean over the last {1 - protocol.deep_settle:.0%} of the steps; "
        "clip-floor-shift: "
        f"{protocol.more_epochs} epochs (of CIFAR-10 {protocol.deep_epochs}) "
        "with activations that round as so many "
        "spikes, before; through time: as many epochs of the converted network "
        "by surrogate gradients. Energy is that of operations alone, 4.6 pJ a "
        "multiply-add and 0.9 pJ an addition (float32 at 45 nm; Horowitz, "
        "2014); dense energy that of the source network. "
    )
    return "\n".join(
        [
            *markdown.table(titles, cells, texts=2),
            "",
            f"{text}{_PEERS} {provenance(head, results)}",
        ]
    )


def _cells(key: tuple, rows: dict[tuple, list[dict]]) -> list[str]:
    name, method, steps = key
    found = rows[key]
    scores = [x["accuracy"] for x in found]
    cells = [TITLES[name], method, f"{steps or '-'}", markdown.spread(scores)]
    sources = rows.get((name, SOURCE, 0))
    if method == SOURCE or not sources:
        return [*cells, *["-"] * 5]
    gaps = [
        100 * (x["accuracy"] - y["accuracy"])
        for x, y in zip(found, sources, strict=True)
    ]

    def mean(name: str, factor: float = 1.0) -> float:
        return factor * statistics.fmean(x[name] for x in found)

    return [
        *cells,
        markdown.spread(gaps, "+.2f").replace("± +", "± "),
        f"{mean('spikes'):,.0f}",
        f"{mean('additions', 1e-6):.2f} M",
        f"{mean('energy', 1e6):.2f} \N{MICRO SIGN}J",
        f"{mean('dense_energy', 1e6):.2f} \N{MICRO SIGN}J",
    ]


def plot(head: dict, results: list[dict]) -> str:
    """Return the accuracy over the time steps, as SVG text."""
    rows = summarize(head, results)
    names = list(dict.fromkeys(name for name, *_ in rows)) or [DIGITS]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        grid = figure.subplots(1, len(names), squeeze=False)[0]
        for axes, name in zip(grid, names, strict=True):
            methods = dict.fromkeys(
                method for data, method, _ in rows if data == name
            )
            colors = iter((INK, *COLORS))
            for method in methods:
                color = next(colors)
                points = {
                    steps: [x["accuracy"] for x in found]
                    for (data, other, steps), found in rows.items()
                    if (data, other) == (name, method)
                }
                means = [*map(statistics.fmean, points.values())]
                if method == SOURCE:
                    axes.axhline(means[0], color=color, linewidth=1)
                    continue
                axes.errorbar(
                    [*points],
                    means,
                    [*map(markdown.deviation, points.values())],
                    marker="o",
                    capsize=2,
                    color=color,
                    label=method,
                )
            axes.set_title(f"{TITLES[name]}: accuracy", loc="left")
            axes.set_xlabel("time steps")
            axes.set_xscale("log", base=2)
            axes.grid(axis="y")
            if len(methods) > 1:
                axes.legend(frameon=False)
        return as_svg(figure)
