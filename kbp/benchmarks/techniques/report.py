"""The table and the plot of the race of techniques."""

import statistics

import matplotlib
from matplotlib.figure import Figure

from kbp._utils.style import COLORS, STYLE, as_svg
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.log import complete, provenance
from kbp.benchmarks.techniques.plan import plan
from kbp.benchmarks.techniques.registry import PLAIN, TECHNIQUES
from kbp.benchmarks.techniques.trial import DIGITS, FORECAST, Protocol

_FORMS = {DIGITS: ".2%", FORECAST: ".4f"}
_SCORES = {DIGITS: "accuracy", FORECAST: "MSE"}


def summarize(head: dict, results: list[dict]) -> dict[tuple, list[dict]]:
    """Return the results of each technique and data set with all seeds.

    The plain recipe comes first of each data set.
    """
    protocol = Protocol(**head["protocol"])
    names = sorted(TECHNIQUES, key=lambda name: (name != PLAIN, name))
    (trials,) = plan(names, protocol, results)
    found = complete(results, trials)
    return {key: found[key] for key in sorted(found, key=lambda key: key[1])}


def markdown_table(head: dict, results: list[dict]) -> str:
    """Return the race as Markdown: a table, and how it was run."""
    rows = summarize(head, results)
    if not rows:
        return "No technique has finished yet."
    cells = [
        [data, TECHNIQUES[name].title, *_cells(rows, name, data)]
        for name, data in rows
    ]
    titles = [
        *("data", "technique", "score", "better than plain by"),
        *("median member", "ensemble", "share of the gain"),
        *("seconds", "memory"),
    ]
    protocol = Protocol(**head["protocol"])
    text = (
        f"Accuracy on the test images of {DIGITS} (8x8 pixels) after "
        f"{protocol.digits_epochs} epochs of a small Pyramid-BPNet, and mean "
        f"squared error of standardized values on those of {FORECAST} after "
        f"{protocol.forecast_epochs} epochs of a BP-Transformer; mean and "
        f"standard deviation of {protocol.seeds} seeds, the differences by "
        "seed. The distilled network's run trains an ensemble by bagging: "
        "its median member and itself stand beside; the share of the gain "
        "is what the one network has of the ensemble's lead over its median "
        "member, in the means. Seconds are "
        "those of all epochs, medians; memory is the largest of the process. "
    )
    return "\n".join(
        [
            *markdown.table(titles, cells, texts=2),
            "",
            text + provenance(head, results),
        ]
    )


def _cells(rows: dict[tuple, list[dict]], name: str, data: str) -> list[str]:
    found, form = rows[name, data], _FORMS[data]
    sign = 1 if data == DIGITS else -1
    scores = [x["score"] for x in found]
    better = "-"
    if name != PLAIN and (PLAIN, data) in rows:
        pairs = zip(scores, rows[PLAIN, data], strict=True)
        gains = [sign * (score - plain["score"]) for score, plain in pairs]
        better = markdown.spread(gains, form)
    teachers = ["-", "-", "-"]
    if "median_member" in found[0]:
        teachers = [
            *(
                markdown.spread([x[key] for x in found], form)
                for key in ("median_member", "ensemble")
            ),
            _share(found),
        ]
    return [
        markdown.spread(scores, form),
        better,
        *teachers,
        f"{statistics.median(x['seconds'] for x in found):.0f}",
        f"{max(x['bytes'] for x in found) / 1e9:.1f} GB",
    ]


def _share(found: list[dict]) -> str:
    """Return which share of the ensemble's gain a network has, if any is."""
    score, member, ensemble = (
        statistics.fmean(x[key] for x in found)
        for key in ("score", "median_member", "ensemble")
    )
    if ensemble == member:
        return "-"
    return f"{(score - member) / (ensemble - member):.0%}"


def plot(head: dict, results: list[dict]) -> str:
    """Return the scores over the time of the training, as SVG text."""
    rows = summarize(head, results)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        grid = figure.subplots(1, 2)
        for axes, data in zip(grid, (DIGITS, FORECAST), strict=True):
            for (name, place), found in rows.items():
                if place != data:
                    continue
                scores = [x["score"] for x in found]
                seconds = statistics.median(x["seconds"] for x in found)
                mean = statistics.fmean(scores)
                color = COLORS[0] if name == PLAIN else "#94a3b8"
                axes.errorbar(
                    seconds,
                    mean,
                    markdown.deviation(scores),
                    marker="o",
                    capsize=2,
                    color=color,
                )
                axes.annotate(TECHNIQUES[name].title, (seconds, mean))
            title = f"{data}: {_SCORES[data]} over seconds"
            axes.set_title(title, loc="left")
            axes.grid(axis="y")
        return as_svg(figure)
