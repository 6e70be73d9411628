"""A recipe run with several seeds: the figures of its zoo entry."""

import dataclasses
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from kbp._utils.files import write_atomically
from kbp.benchmarks.core.log import provenance
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.reports.report import NEAR
from kbp.reports.stage import Stage
from kbp.tasks import format_score
from kbp.training.workdir import check_free, read_run

RECIPE_FILE = "race_recipe.toml"


def race(
    recipe: Recipe,
    folder: Path,
    *,
    seeds: int = 5,
    data_dir: str | Path | None = None,
    console: Console | None = None,
) -> dict:
    """Run a recipe with `training.seed` 0, 1, ... and sum up the results.

    Each run has a process and a folder of its own and is not run again once it
    has finished, so a race can be stopped and taken up at any time.

    Args:
        recipe: what to run.
        folder: for the runs and `results.json`.
        seeds: how many runs.
        data_dir: folder of the data sets that are read from files.
        console: where the table goes.

    Returns:
        What `results.json` holds.

    Raises:
        UserError: the folder belongs to something else, or a run failed.
    """
    file = folder / RECIPE_FILE
    if not file.is_file():
        check_free(folder, "race")
        write_atomically(file, recipe.to_toml())
    elif Recipe.read(file) != recipe:
        raise UserError(f"{folder}: holds a race of another recipe.")
    paths = [run_folder(folder, seed) for seed in range(seeds)]
    for seed, path in enumerate(paths):
        run = read_run(path)
        if run is None or run["status"] != "finished":
            _run(file, seed, path, data_dir)
    results = summarize([read_run(path) for path in paths])
    write_atomically(
        folder / "results.json", json.dumps(results, indent=2) + "\n"
    )
    if console is not None:
        console.print(markdown_table(results), markup=False)
    return results


def run_folder(folder: Path, seed: int) -> Path:
    """Return the folder of one of a race's runs."""
    return folder / f"seed{seed}"


def _run(recipe_file, seed, path, data_dir):
    # In a process of its own, so that time and memory are its own too.
    command = [sys.executable, "-m", "kbp", "train", recipe_file, "--resume"]
    command += ["--workdir", path, "--set", f"training.seed={seed}"]
    if data_dir is not None:
        command += ["--data-dir", data_dir]
    status = subprocess.run([str(word) for word in command]).returncode
    if status:
        raise UserError(f"{path}: the run ended with status {status}.")


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
                    "deviation": _deviation(values),
                    "values": values,
                }
        stages.append(stage)
    return {
        "recipe": without_seed(first["recipe"]),
        "runs": len(runs),
        "metric": first["metric"],
        "stages": stages,
        "kernel_sparsity": _mean(runs, "kernel_sparsity"),
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
    }


def without_seed(recipe: dict) -> dict:
    """Return a recipe's sections but for the seed, in which runs differ."""
    training = {k: v for k, v in recipe["training"].items() if k != "seed"}
    return json.loads(json.dumps({**recipe, "training": training}))


def markdown_table(results: dict) -> str:
    """Return the results as Markdown: a table, and what it was measured on."""
    metric = results["metric"]
    headings = Stage.headings(metric)
    lines = [
        f"| {' | '.join(headings)} |",
        f"| --- | {' | '.join(['---:'] * (len(headings) - 1))} |",
    ]
    names = [field.name for field in dataclasses.fields(Stage)][1:]
    for stage in results["stages"]:
        values = {n: stage[n]["median"] for n in names if n in stage}
        row = Stage(**{n: values.get(n) for n in names}, name=stage["name"])
        cells = list(row.cells(metric))
        cells[1] = spread(stage["score"], metric)
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"{results['runs']} runs with different seeds: {metric} is mean ± "
        "standard deviation, the rest medians; latency is that of one example "
        f"at {results['recipe']['export']['num_threads']} thread. "
        f"{results['kernel_sparsity']:.1%} of the kernel weights are zero; "
        f"in each run at least {results['outputs_within_one']:.2%} of the "
        f"int8 file's outputs are within {NEAR[results['unit']]} of the "
        "fake-quantized model; "
        f"{len(results['float_operations'])} operations of it are float. A run "
        f"takes {results['seconds']:.0f} s and at most "
        f"{results['peak_memory_bytes'] / 1e9:.1f} GB. "
        + provenance(results, [{"commit": c} for c in results["commits"]]),
    ]
    return "\n".join(lines)


def spread(score: dict, metric: str) -> str:
    """Return mean and standard deviation of several runs' scores as text."""
    return " ± ".join(
        format_score(metric, score[key]) for key in ("mean", "deviation")
    )


def _mean(runs, key):
    return statistics.fmean(run[key] for run in runs)


def _deviation(values):
    return statistics.stdev(values) if len(values) > 1 else 0.0
