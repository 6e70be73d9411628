"""Tables of recipes that ran with several seeds, and of the zoo."""

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kbp import zoo
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.log import provenance
from kbp.errors import UserError
from kbp.reports.report import NEAR
from kbp.reports.stage import Stage
from kbp.tasks import format_score


def summarize(runs: list[dict]) -> dict:
    """Return mean, spread and circumstances of several runs of a recipe."""
    first = runs[0]
    stages = []
    for rows in zip(*(run["stages"] for run in runs), strict=True):
        stage = {"name": rows[0]["name"]}
        for key in rows[0]:
            values = [row[key] for row in rows]
            if key != "name" and None not in values:
                stage[key] = {
                    "mean": statistics.fmean(values),
                    "median": statistics.median(values),
                    "deviation": markdown.deviation(values),
                    "values": values,
                }
        stages.append(stage)
    return {
        "recipe": without_seed(first["recipe"]),
        "runs": len(runs),
        "metric": first["metric"],
        "stages": stages,
        "kernel_sparsity": _mean(runs, "kernel_sparsity"),
        "channels": [
            statistics.median(counts)
            for counts in zip(*(run["channels"] for run in runs), strict=True)
        ],
        "seconds": statistics.median(
            [r["seconds"] for r in runs if not r["resumed"]] or [math.nan]
        ),
        "peak_memory_bytes": max(run["peak_memory_bytes"] for run in runs),
        "outputs_within_one": min(
            run["verification"]["within_one"] for run in runs
        ),
        "unit": first["verification"]["unit"],
        "float_operations": first["float_operations"],
        "machine": first["machine"],
        "versions": first["versions"],
        "commits": sorted({str(run["commit"]) for run in runs}),
        "elsewhere": [
            {key: run[key]}
            for run in runs
            for key in ("machine", "versions")
            if run[key] != first[key]
        ],
    }


def read_results(file: Path) -> dict:
    """Return what a race's `results.json` holds.

    Raises:
        UserError: the file holds something else.
    """
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
        if {"recipe", "stages"} <= results.keys():
            return results
    except (ValueError, AttributeError):
        pass
    raise UserError(f"{file}: holds no results of a race.")


def without_seed(recipe: dict) -> dict:
    """Return a recipe's sections but for the seed, in which runs differ."""
    training = {k: v for k, v in recipe["training"].items() if k != "seed"}
    return json.loads(json.dumps({**recipe, "training": training}))


def markdown_table(results: dict) -> str:
    """Return the results as Markdown: a table, and what it was measured on."""
    metric = results["metric"]
    headings = Stage.headings(metric)
    rows = []
    names = [field.name for field in dataclasses.fields(Stage)][1:]
    for stage in results["stages"]:
        values: dict[str, Any] = {
            name: stage[name]["median"] if name in stage else None
            for name in names
        }
        row = Stage(name=stage["name"], **values)
        cells = list(row.cells(metric))
        cells[1] = spread(stage["score"], metric)
        rows.append(cells)
    lines = [
        *markdown.table(headings, rows),
        "",
        f"{results['runs']} runs with different seeds: {metric} is mean ± "
        "standard deviation, the rest medians; latency is that of one example "
        f"at {results['recipe']['export']['num_threads']} thread. "
        f"{_pruned(results)}; in each run at least "
        f"{results['outputs_within_one']:.2%} of the int8 file's outputs are "
        f"within {NEAR[results['unit']]} of the "
        "fake-quantized model; "
        f"{len(results['float_operations'])} operations of it are float. A run "
        f"takes {results['seconds']:.0f} s and at most "
        f"{results['peak_memory_bytes'] / 1e9:.1f} GB. "
        + provenance(results, _runs(results)),
    ]
    return "\n".join(lines)


def _runs(results: dict) -> list[dict]:
    """Return what the runs' provenance may differ in."""
    found = [{"commit": commit} for commit in results["commits"]]
    return [*found, *results.get("elsewhere", [])]


def _channels(results: dict) -> tuple[float, float]:
    """Return how many channels there were, and are; 0 if nobody counted."""
    before, after = results.get("channels") or (0, 0)
    return before, after


def _pruned_share(results: dict) -> str:
    """Say which share of what pruning left out."""
    before, after = _channels(results)
    if before > after:
        return f"{1 - after / before:.0%} of channels"
    zeros = f"{results['kernel_sparsity']:.0%}"
    return "-" if zeros == "0%" else f"{zeros} of weights"


def _pruned(results: dict) -> str:
    """Say what pruning left out."""
    before, after = _channels(results)
    if before > after:
        return f"{after:,.0f} of {before:,.0f} channels are left"
    return f"{results['kernel_sparsity']:.1%} of the kernel weights are zero"


def spread(score: dict, metric: str) -> str:
    """Return mean and standard deviation of several runs' scores as text."""
    mean, deviation = (
        format_score(metric, score[key]) for key in ("mean", "deviation")
    )
    return f"{mean} ± {deviation}" if len(score["values"]) > 1 else mean


def zoo_table(entries: Iterable[tuple[zoo.Entry, dict]]) -> str:
    """Return a table with a row for each entry of the zoo and its results."""
    rows = []
    for entry, results in entries:
        first, last = results["stages"][0], results["stages"][-1]
        cells = (
            f"[{entry.name}]({entry.name}/README.md)",
            results["metric"],
            spread(first["score"], results["metric"]),
            spread(last["score"], results["metric"]),
            _pruned_share(results),
            f"{last['file_size']['median'] / 1e3:.0f} kB",
            f"{last['speed_up']['median']:.2f}x",
            str(results["runs"]),
        )
        rows.append(cells)
    titles = [
        *("entry", "metric", "trained", "int8", "pruned", "int8 file"),
        *("speed-up", "runs"),
    ]
    return "\n".join(markdown.table(titles, rows, texts=2))


def _mean(runs, key):
    return statistics.fmean(run[key] for run in runs)
