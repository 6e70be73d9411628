"""The result of a run, for a terminal and for a browser."""

import dataclasses
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group
from rich.text import Text

from kbp._utils.files import write_atomically
from kbp._utils.machine import DOT_PRODUCTS, in_words, sets_in_words
from kbp._utils.run_files import PREDICTIONS
from kbp.data.splitting import some
from kbp.export import Footprint
from kbp.reports import figures, footprint
from kbp.reports.fitted_table import FittedTable
from kbp.reports.metrics_file import (
    read_metrics,
    said_of_waiting,
    waiting_share,
)
from kbp.reports.monitors import heat_maps
from kbp.reports.pages import figure, folded, html_table, own_table, page
from kbp.reports.result_table import ResultTable
from kbp.reports.stage import POST_TRAINING, Stage, result_in_words
from kbp.tasks import Task
from kbp.tasks.registry import format_score

# What `Verification.within_one` counts, by its unit.
NEAR = {"LSB": "1 LSB", "float": "0.1% of the largest"}
_FEW_ZEROS = 0.0005  # less reads as 0.0%
_SLOWER = 0.95  # nearer to 1 is chance
_SMALL = 0.1  # milliseconds; shorter ones are the interpreter's own
# How to read figures.
_CURVES = (
    "Where the validation's curve leaves the training's, the model learns the "
    "examples by heart; where both still fall, more epochs help."
)
_ZEROS = (
    "The darker, the more of the layer's weights are pruned; of a layer whose "
    "name ends in _gate, the more channels. The numbers are the shares at the "
    "end."
)
_BOXES = "Each box is as large as its layer's share of the file."


def result_table(stages: Sequence[Stage], run: dict[str, Any]) -> FittedTable:
    """Return the stages of a run as a table for rich to print."""
    metric = run["metric"]
    return FittedTable(
        _title(run["recipe"]),
        Stage.headings(metric),
        [stage.cells(metric) for stage in stages],
    )


def as_rich(heading: str, table: ResultTable) -> Group:
    """Return a task's own table as a rich table, its remark below it."""
    made = FittedTable(heading, table.headings, table.rows)
    # A caption would be as narrow as the table.
    return Group(made, *([Text(table.remark)] if table.remark else []))


def write(
    folder: Path,
    task: Task,
    run: dict[str, Any],
    stages: Sequence[Stage],
    outputs: np.ndarray,
) -> None:
    """Write `report.html` into a run's folder: one file, no network.

    The picture of what the int8 file predicts is a file of its own as well.

    Args:
        folder: the run's.
        task: the run's.
        run: what `run.json` is to hold.
        stages: rows of the table.
        outputs: of the int8 file, for the test examples.
    """
    others = run.get("other_stages", ())  # of which the report has no curves
    rows = [
        row
        for row in read_metrics(folder / "metrics.csv")
        if row["stage"] not in others
    ]
    run["waiting"] = waiting_share(rows)
    own = task.figures(outputs)
    tables = {
        heading: ResultTable(**table)
        for heading, table in run.get("tables", {}).items()
    } | task.tables(outputs)
    run["tables"] = {
        heading: dataclasses.asdict(table) for heading, table in tables.items()
    }
    sections = {
        "Result": _result(stages, task.metric),
        "Learning curves": figure(
            figures.learning_curves(rows, task.metric), _CURVES
        ),
        "Pruned per layer": figure(figures.sparsity_by_layer(rows), _ZEROS),
        **heat_maps.sections(folder, task.recipe.monitor.bounds(), others),
        **_footprint(run),
        "Scores of the int8 file": html_table(
            ("score", "test"), [*task.details(outputs).items()]
        ),
        **{heading: own_table(table) for heading, table in tables.items()},
        **{
            heading: figure(drawn, task.captions.get(heading, ""))
            for heading, drawn in own.items()
        },
        "Recipe": folded("All its keys", task.recipe.to_toml().strip()),
    }
    title, said = _title(run["recipe"]), facts(run)
    write_atomically(folder / "report.html", page(title, said, sections))
    if own:
        *_, predictions = own.values()
        write_atomically(folder / PREDICTIONS, predictions)


def _footprint(run: dict[str, Any]) -> dict[str, str]:
    """Return the section on what the file to ship takes, if it is known."""
    if "footprint" not in run:
        return {}
    taken = Footprint.from_dict(run["footprint"])
    file = "int8" if run["recipe"]["quantization"]["enabled"] else "float32"
    return {
        f"Memory and size of the {file} file": figure(
            footprint.treemap(taken), _BOXES
        )
        + own_table(footprint.table(taken))
    }


def as_html(stages: Sequence[Stage], run: dict[str, Any]) -> str:
    """Return the result table and the facts of a run, for a notebook."""
    table = _result(stages, run["metric"])
    return f"{table}<p>{html.escape(facts(run))}</p>"


def _result(stages: Sequence[Stage], metric: str) -> str:
    return html_table(
        Stage.headings(metric), [stage.cells(metric) for stage in stages]
    )


def _title(recipe: dict[str, Any]) -> str:
    model = recipe["model"]  # one's own has a name
    name = model.get("name", model["architecture"])
    return f"{name} on {recipe['data']['name']}"


def facts(run: dict[str, Any]) -> str:
    """Return what else there is to say of a run, in a few lines."""
    check, floats = run["verification"], run["float_operations"]
    threads = run["recipe"]["export"]["num_threads"]
    warnings = "".join(f"Warning: {x}\n" for x in run["warnings"])
    file, model, places = "float32", "Keras", ""
    if run["recipe"]["quantization"]["enabled"]:
        file, model, places = "int8", "fake-quantized", _places(floats)
    held = f"{run['data']}\n" if "data" in run else ""
    return (
        f"{result_in_words([Stage(**row) for row in run['stages']], run)}\n"
        f"{held}{_pruned(run)}"
        f"{file} file: {run['operations']} operations, {len(floats)} of "
        f"them float{places}; {check['within_one']:.2%} of its outputs within "
        f"{NEAR[check['unit']]} of the {model} model (largest "
        f"difference {check['maximum']:.3g}).\n"
        f"{_gained(run)}{_memory(run)}{warnings}{_to_ship(run)}"
        f"{said_of_waiting(run.get('waiting'))}"
        f"Latency is that of one example at {threads} thread"
        f"{'s' if threads > 1 else ''}. {_circumstances(run)}"
    )


def _pruned(run: dict[str, Any]) -> str:
    """Say what pruning took away, if the run prunes."""
    section, zeros = run["recipe"]["sparsity"], run["kernel_sparsity"]
    if not section["target"] and zeros < _FEW_ZEROS:
        return ""
    left = f"{run['left_out']} " if run.get("left_out") else ""
    said = f"{zeros:.1%} of the kernel weights are zero. "
    if section["granularity"] != "channel" or "channels" not in run:
        return said + left
    before, after = run["channels"]
    sizes = {stage["name"]: stage["parameters"] for stage in run["stages"]}
    whole, *_ = sizes.values()
    removed = (
        f"Pruning removed {before - after:,} of {before:,} channels: "
        f"{whole:,} parameters -> {sizes['pruned']:,}. "
    )
    more = f"Of the kernel weights left, {zeros:.1%} are zero. "
    return removed + (more if zeros >= _FEW_ZEROS else "") + left


def _gained(run: dict[str, Any]) -> str:
    """Say what training in fake eight bits was worth, if there was any."""
    scores = {stage["name"]: stage["score"] for stage in run["stages"]}
    if POST_TRAINING not in scores:
        return ""
    *_, trained = scores.values()
    before, after = (
        format_score(run["metric"], score)
        for score in (scores[POST_TRAINING], trained)
    )
    epochs = run["recipe"]["quantization"]["epochs"]
    return (
        f"The int8 file has {run['metric']} {before} if nothing is trained "
        f"after rounding, {after} with {epochs} "
        f"epoch{'s' if epochs > 1 else ''} in fake eight bits.\n"
    )


def _memory(run: dict[str, Any]) -> str:
    """Say what memory the file to ship needs, if it is known."""
    if "footprint" not in run:
        return ""
    return f"{footprint.memory(Footprint.from_dict(run['footprint']))}\n"


def _to_ship(run: dict[str, Any]) -> str:
    """Say which file is the one for this processor, and why."""
    *_, whole, small = run["stages"]
    if not small["name"].startswith("int8"):
        return ""
    speed = whole["latency"] / small["latency"]
    sets = sets_in_words(run["machine"])
    if speed > _SLOWER:
        how = f"{speed:.1f} times as fast as" if speed > 1.05 else "as fast as"
        return (
            f"For this processor ({sets}) ship the int8 file: {how} the "
            "float32 file.\n"
        )
    why = (
        "this network gains nothing from eight bits here; other work on the "
        "machine also changes latencies"
    )
    if DOT_PRODUCTS.isdisjoint(run["machine"].get("instruction_sets") or ()):
        why = (
            "the processor may lack 8-bit dot products (AVX-512 VNNI, AMX, Arm "
            "dotprod); a network of fewer channels is faster everywhere"
        )
    if whole["latency"] < _SMALL:
        why = (
            "in so small a network, converting values to eight bits and back "
            "takes longer than computing with them saves"
        )
    return (
        f"The int8 file is slower than the float32 file on this machine: {why}."
        f" For this processor ({sets}) ship the float32 file, or the int8 file "
        "for its size.\n"
    )


def _places(floats: Sequence[str]) -> str:
    """Say where the float operations of a run are: on purpose, all of them."""
    layers = dict.fromkeys(text.rpartition(" at ")[2] for text in floats)
    return f", on purpose (at {some(layers)})" if layers else ""


def _circumstances(run: dict[str, Any]) -> str:
    versions, machine = run["versions"], run["machine"]
    resumed = " after it was resumed" if run["resumed"] else ""
    commit = f" at {run['commit']}" if run["commit"] else ""
    return (
        f"The run took {run['seconds']:.0f} s{resumed} and "
        f"{run['peak_memory_bytes'] / 1e9:.1f} GB on {in_words(machine)}, with "
        f"TensorFlow {versions['tensorflow']}, "
        f"Keras {versions['keras']}, LiteRT {versions['ai-edge-litert']}, "
        f"kbp {versions['kbp']}{commit}."
    )
