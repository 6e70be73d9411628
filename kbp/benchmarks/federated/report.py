"""The table and the plot of federated training."""

import statistics

import matplotlib
from matplotlib.figure import Figure

from kbp._utils.style import COLORS, STYLE, as_svg
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.log import complete, provenance
from kbp.benchmarks.federated.cases import CASES, CENTRAL
from kbp.benchmarks.federated.trial import Protocol, Trial


def summarize(head: dict, results: list[dict]) -> dict[str, list[dict]]:
    """Return the results of each case with all seeds, in the cases' order."""
    seeds = range(Protocol(**head["protocol"]).seeds)
    found = complete(results, [Trial(x, s) for x in CASES for s in seeds])
    return {name: found[(name,)] for name in CASES if (name,) in found}


def markdown_table(head: dict, results: list[dict]) -> str:
    """Return the race as Markdown: a table, and how it was run."""
    rows = summarize(head, results)
    if not rows:
        return "No case has finished yet."
    protocol = Protocol(**head["protocol"])
    cells = [[CASES[name].title, *_cells(rows, name)] for name in rows]
    titles = ("who trains", "accuracy", "below one by", "MB from clients")
    text = (
        "Accuracy on the 360 test digits after "
        f"{protocol.rounds} rounds of one epoch of each client by FedAvg, or "
        f"{protocol.rounds} epochs of one who has all the data; a small "
        f"Pyramid-BPNet; mean and standard deviation of {protocol.seeds} "
        "seeds, the differences by seed. Poisoned clients send their trained "
        "weights times -10; there is no model where weights become infinite. "
        "Seconds, median: of the whole training in one "
        "process, compiling included. The overhead is this time over that of "
        "the clients' own training, validation and messages. "
    )
    return "\n".join(
        [
            *markdown.table([*titles, "seconds", "overhead"], cells),
            "",
            text + provenance(head, results),
        ]
    )


def _cells(rows: dict[str, list[dict]], name: str) -> list[str]:
    found = rows[name]
    scores = [x["score"] for x in found if "score" in x]
    below = sent = overhead = "-"
    lost = len(found) - len(scores)
    accuracy = (
        f"no model in {lost} of {len(found)} runs"
        if lost
        else markdown.spread(scores)
    )
    if not lost and name != CENTRAL and CENTRAL in rows:
        pairs = zip(rows[CENTRAL], scores, strict=True)
        below = markdown.spread([one["score"] - x for one, x in pairs])
    if all("bytes_up" in x for x in found):
        sent = f"{statistics.fmean(x['bytes_up'] for x in found) / 1e6:,.1f}"
    if all("clients_seconds" in x for x in found):
        times = [x["seconds"] / x["clients_seconds"] for x in found]
        overhead = f"{statistics.median(times):.2f}x"
    seconds = statistics.median(x["seconds"] for x in found)
    return [accuracy, below, sent, f"{seconds:.0f}", overhead]


def plot(head: dict, results: list[dict]) -> str:
    """Return the accuracies as bars, as SVG text."""
    rows = summarize(head, results)
    with matplotlib.rc_context(STYLE):
        figure = Figure(
            figsize=(7, 0.6 + 0.34 * len(rows)), layout="constrained"
        )
        axes = figure.subplots()
        for place, (name, found) in enumerate(rows.items()):
            scores = [x.get("score", 0.0) for x in found]
            color = COLORS[0] if name == CENTRAL else "#94a3b8"
            axes.barh(
                place,
                statistics.fmean(scores),
                xerr=markdown.deviation(scores),
                color=color,
            )
        axes.set_yticks(range(len(rows)), [CASES[x].title for x in rows])
        axes.invert_yaxis()
        axes.set_title("accuracy on digits", loc="left")
        axes.grid(axis="x")
        return as_svg(figure)
