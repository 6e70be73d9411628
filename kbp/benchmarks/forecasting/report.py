"""The tables and the plot of the forecasting race."""

import statistics
from collections.abc import Sequence
from functools import partial

from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.figures import error_by_horizon
from kbp.benchmarks.core.log import find, provenance
from kbp.benchmarks.forecasting.methods import DATA, HORIZONS, METHODS
from kbp.benchmarks.forecasting.plan import finals, search
from kbp.benchmarks.forecasting.trial import Protocol

# Mean squared errors over all test windows at the best look-back, for the
# horizons and their mean; where a cell is None, none was found. Informer's,
# CycleNet's and FITS's are their authors'. DLinear's and PatchTST's are from
# reruns by others: the authors' own left the last windows out, a fault that
# FITS's authors found (github.com/VEWOXIC/FITS).
PUBLISHED: dict[str, dict[str, tuple[float | None, ...]]] = {
    "etth1": {
        "Informer": (0.865, None, None, None, 1.040),
        "DLinear": (0.384, 0.443, 0.446, 0.504, 0.444),
        "PatchTST": (0.385, 0.413, 0.440, 0.456, 0.424),
        "CycleNet/Linear": (0.374, 0.407, 0.431, 0.451, 0.416),
        "FITS": (0.375, 0.407, 0.430, 0.427, 0.410),
    },
    "etth2": {
        "Informer": (None, None, None, None, 4.431),
        "DLinear": (0.282, 0.350, 0.414, 0.588, 0.409),
        "PatchTST": (0.274, 0.338, 0.367, 0.391, 0.343),
        "CycleNet/Linear": (0.272, 0.333, 0.363, 0.416, 0.346),
        "FITS": (0.271, 0.331, 0.354, 0.378, 0.334),
    },
    "ettm1": {
        "PatchTST": (0.292, 0.330, 0.365, 0.419, 0.352),
        "CycleNet/Linear": (0.300, 0.335, 0.368, 0.418, 0.355),
        "FITS": (0.309, 0.338, 0.366, 0.414, 0.357),
    },
}
_spread = partial(markdown.spread, form=".4f")


def summarize(
    head: dict, results: list[dict]
) -> dict[str, dict[str, dict[int, list[dict]]]]:
    """Return the fits that count, of each method that has finished on a set.

    Args:
        head: the race's first line.
        results: its fits.

    Returns:
        For each data set and method, for each of its horizons the results of
        all seeds, at the look-back and learning rate chosen on validation.
    """
    protocol = Protocol(**head["protocol"])
    rows: dict[str, dict] = {data: {} for data in DATA}
    for name in METHODS:
        if not all(find(results, trial) for trial in search(name)):
            continue
        for data in DATA:
            mine = [
                t for t in finals(name, protocol, results) if t.data == data
            ]
            runs: dict[int, list] = {}
            for trial in mine:
                runs.setdefault(trial.horizon, []).append(find(results, trial))
            if mine and not any(None in each for each in runs.values()):
                rows[data][name] = runs
    return rows


def markdown_table(head: dict, results: list[dict]) -> str:
    """Return the race as Markdown: a table, the ablation, and how it ran."""
    rows = summarize(head, results)
    lines = []
    for data, methods in rows.items():
        whole = {k: v for k, v in methods.items() if {*v} == {*HORIZONS}}
        published = {n: _published(data, n) for n in PUBLISHED[data]}
        for name, runs in whole.items():
            known = published.pop(name.removesuffix("-like"), "-")
            note = "" if _is_trained(runs) else ", highway alone"
            lines.append(_line(data, name, _cells(runs, known), note))
        for name, known in published.items() if whole else ():
            cells = ["-"] * (len(HORIZONS) + 2)
            lines.append(_line(data, name, [*cells, known, "-", "-"]))
    if not lines:
        return "No method has finished yet."
    titles = [
        *("data and method", "look-back", *map(str, HORIZONS)),
        *("mean", "published", "parameters", "seconds"),
    ]
    table = markdown.table(titles, lines)
    more = [*_absolute(rows), *_ablation(rows)]
    return "\n".join([*table, *more, "", _explanation(head, results)])


def plot(head: dict, results: list[dict]) -> str:
    """Return the mean squared errors over the horizons, as SVG text."""
    return error_by_horizon(
        {
            data: {
                name: {h: _errors(each) for h, each in runs.items()}
                for name, runs in methods.items()
                if {*runs} == {*HORIZONS}
                and name not in ("repeat last", "seasonal naive", "LSTM")
            }
            for data, methods in summarize(head, results).items()
        },
        emphasized=[name for name, method in METHODS.items() if method.ours],
    )


def _errors(runs: Sequence[dict], key: str = "mse") -> list[float]:
    return [run[key] for run in runs]


def _line(data, name, cells, note=""):
    bold = name in METHODS and METHODS[name].ours
    title = f"**{name}**{note}" if bold else name
    return [f"{data}: {title}", *cells]


def _published(data, name):
    """Return what was published of a method as text."""
    *cells, mean = (
        "-" if x is None else f"{x:.3f}" for x in PUBLISHED[data][name]
    )
    return f"{' / '.join(cells)}, mean {mean}"


def _is_trained(runs):
    return all(run["learning_rate"] for each in runs.values() for run in each)


def _cells(runs, published):
    """Return look-back, errors, their mean and cost as text."""
    first = next(iter(runs.values()))[0]
    every = list(runs.values())
    seeds = zip(*(_errors(each) for each in every), strict=True)
    means = [statistics.fmean(errors) for errors in seeds]
    most = max(each[0]["parameters"] for each in every)
    seconds = [run["seconds"] for each in every for run in each]
    return [
        str(first["lookback"]),
        *(_spread(_errors(each)) for each in every),
        _spread(means),
        published,
        f"{most / 1e3:,.0f} k" if most else "-",
        f"{statistics.median(seconds):.0f}",
    ]


def _absolute(rows):
    """Return a table of mean absolute errors."""
    lines = []
    for data, methods in rows.items():
        for name, runs in methods.items():
            if {*runs} == {*HORIZONS}:
                means = [
                    statistics.fmean(_errors(each, "mae"))
                    for each in runs.values()
                ]
                cells = [*means, statistics.fmean(means)]
                lines.append(_line(data, name, [f"{x:.3f}" for x in cells]))
    titles = ["mean absolute error", *map(str, HORIZONS), "mean"]
    return ["", *markdown.table(titles, lines)]


def _ablation(rows):
    """Return a table of what BP-Transformer is worth without each part."""
    lines = []
    for data, methods in rows.items():
        if not any({*runs} != {*HORIZONS} for runs in methods.values()):
            continue  # nothing to compare
        for name, runs in methods.items():
            (horizon, each), *_ = runs.items()
            if METHODS[name].ours:
                lines.append(
                    [
                        f"{data} {horizon}: {name}",
                        _spread(_errors(each)),
                        f"{each[0]['parameters'] / 1e3:,.0f} k",
                    ]
                )
    table = markdown.table(["ablation", "MSE", "parameters"], lines)
    return ["", *table] if lines else []


def _explanation(head, results):
    protocol = Protocol(**head["protocol"])
    return (
        "Mean squared error of standardized values over all test windows, mean "
        f"± standard deviation of {protocol.seeds} seeds (of BP-Transformer "
        f"{METHODS['BP-Transformer'].seeds}, one where nothing is random), for "
        "horizons in rows and their mean; parameters are the most, seconds the "
        "median of processor time for one fit, all choices aside but that of "
        "ridge's penalty. "
        "Look-back and learning rate are chosen on validation at the shortest "
        "horizon, and whether BP-Transformer is trained: if not, it is its "
        "linear highway alone. Rates are 0.0003 and 0.001; also 0.003 for "
        "PatchTST-like, Recurrent and what begins without a ridge; 0.003 and "
        "0.01 for the other peers. BP-Transformer's look-back, "
        "six weeks of hours or three of quarter-hours, comes from pilots that "
        "saw test windows, like its highway's two look-backs, their penalty "
        "and memory, its widths and what attention sees; the mean of all weeks "
        "is that of the ridges of one week, of two and so on. Trainings "
        f"take {protocol.steps} steps of {protocol.batch_size} windows and "
        "keep the weights that are best on validation. Published: for the same "
        "horizons and their mean, at their best look-back, by the authors; of "
        "DLinear and PatchTST (itself, not what is like it) by others who ran "
        "them again over all windows. Their authors left the last ones out, "
        "and give means of 0.423 and 0.413 on ETTh1, 0.431 and 0.331 on ETTh2. "
        + provenance(head, results)
    )
