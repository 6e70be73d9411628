"""Milliseconds of an optimizer's step, beside Keras's optimizers."""

import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import optimizers
from rich.console import Console
from rich.table import Table

from kbp.errors import UserError, nearest
from kbp.optimizers import HybridOptimizer
from kbp.training.workdir import commit, machine, versions

RESULTS = Path(__file__).parent / "results" / "step_time.jsonl"
BASELINE = "Adam-AMSGrad (Keras)"
# Read g, m, v, vmax and w, write the last four, in float32.
BYTES_PER_PARAMETER = 36

_BLOCKS = (
    (3, 3, 32, 64),
    (3, 3, 64, 64),
    (3, 3, 64, 64),
    (1, 1, 64, 128),
    (3, 3, 64, 128),
)
SMALL = "2.8 M in 240"
CASES = {
    # 80 convolutions with the scale and shift of their BatchNormalization.
    SMALL: [
        shape
        for i in range(80)
        for kernel in [_BLOCKS[i % len(_BLOCKS)]]
        for shape in (kernel, kernel[-1:], kernel[-1:])
    ],
    "25 M in 24": [(1024, 1024)] * 24,
}
# Their matrix products of 1024 x 1024 take seconds on a CPU.
SMALL_ONLY = ("Muon (Keras)", "HybridOptimizer, matrix")


def optimizers_by_name() -> dict[str, tuple[Callable, bool]]:
    """Return how to create what is measured, and whether XLA compiles it."""
    return {
        BASELINE: (lambda: optimizers.AdamW(amsgrad=True), False),
        f"{BASELINE}, XLA": (lambda: optimizers.AdamW(amsgrad=True), True),
        "Adam (Keras)": (optimizers.Adam, False),
        "Nadam (Keras)": (optimizers.Nadam, False),
        "SGD-Nesterov (Keras)": (
            lambda: optimizers.SGD(momentum=0.9, nesterov=True),
            False,
        ),
        "Muon (Keras)": (optimizers.Muon, False),
        "HybridOptimizer": (lambda: HybridOptimizer(weight_decay=0.004), False),
        "HybridOptimizer, matrix": (
            lambda: HybridOptimizer(weight_decay=0.004, matrix_steps=True),
            False,
        ),
    }


@dataclass(frozen=True)
class Figure:
    """Time of one optimizer's step.

    Attributes:
        name: the optimizer.
        milliseconds: median over the rounds.
        quartiles: first and third, in milliseconds.
        ratio: median of its times relative to the baseline's of the same round.
        bandwidth: share of the copy bandwidth, measured in the same rounds,
            that 36 bytes for each parameter in this time are.
    """

    name: str
    milliseconds: float
    quartiles: tuple[float, float]
    ratio: float
    bandwidth: float


def measure(case: str, *, rounds: int = 30, seed: int = 0) -> list[Figure]:
    """Measure every optimizer in turns, in each of several rounds.

    Args:
        case: a key of `CASES`.
        rounds: in which each takes one step.
        seed: of weights and gradients.

    Raises:
        UserError: there is no such case.
    """
    if case not in CASES:
        raise UserError(f"unknown case {case!r}{nearest(case, CASES)}")
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=s).astype("float32") for s in CASES[case]]
    # Read inside the step, as gradients are made there in training.
    gradients = [tf.Variable(array, trainable=False) for array in arrays]
    count = sum(array.size for array in arrays)
    runs = {"copy": _copy(count)}
    for name, (create, compiled) in optimizers_by_name().items():
        if name in SMALL_ONLY and case != SMALL:
            continue
        runs[name] = _step(create(), arrays, gradients, compiled)
    times = {name: [] for name in runs}
    for i in range(rounds + 2):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if i >= 2:  # the first two trace, compile and warm up
                times[name].append(1e3 * (time.perf_counter() - start))
    copy = times.pop("copy")
    return [
        Figure(
            name,
            statistics.median(values),
            tuple(np.percentile(values, (25, 75)).tolist()),
            statistics.median(
                a / b for a, b in zip(values, times[BASELINE], strict=True)
            ),
            statistics.median(copy) / statistics.median(values),
        )
        for name, values in times.items()
    ]


def _step(optimizer, arrays, gradients, compiled):
    variables = [keras.Variable(array) for array in arrays]
    optimizer.build(variables)

    @tf.function(jit_compile=compiled)
    def step():
        optimizer.apply([g.read_value() for g in gradients], variables)

    return step


def _copy(count):
    # As many bytes, half of them read and half written.
    source = np.ones(count * BYTES_PER_PARAMETER // 8, np.float32)
    target = np.zeros_like(source)
    return lambda: np.copyto(target, source)


def race(
    file: Path, *, rounds: int = 30, console: Console | None = None
) -> list[dict]:
    """Measure all cases, and append a line for each to a file.

    Returns:
        The lines.
    """
    lines = []
    for case, shapes in CASES.items():
        figures = measure(case, rounds=rounds)
        lines.append(
            {
                "case": case,
                "parameters": sum(map(math.prod, shapes)),
                "rounds": rounds,
                "figures": [vars(figure) for figure in figures],
                "machine": machine(),
                "versions": versions(),
                "commit": commit(),
            }
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as stream:
            stream.write(json.dumps(lines[-1]) + "\n")
        if console is not None:
            console.print(_table(case, figures))
    return lines


def read(file: Path) -> list[dict]:
    """Return a file's newest line of each case.

    Raises:
        UserError: the file holds something else.
    """
    if not file.is_file():
        return []
    try:
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        newest = {line["case"]: line for line in lines}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: holds no times of steps.") from error
    return list(newest.values())


def markdown_table(lines: list[dict]) -> str:
    """Return lines of `race` as Markdown: a table, and how it was measured."""
    text = [
        "| parameters | optimizer | step | ratio | of copy bandwidth |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for line in lines:
        for figure in line["figures"]:
            low, high = figure["quartiles"]
            text.append(
                f"| {line['case']} | {figure['name']} | "
                f"{figure['milliseconds']:.1f} ms ({low:.1f} - {high:.1f}) | "
                f"{figure['ratio']:.2f} | {figure['bandwidth']:.0%} |"
            )
    machine, versions = lines[0]["machine"], lines[0]["versions"]
    commits = sorted({str(line["commit"]) for line in lines})
    text += [
        "",
        "The optimizer's step alone, in graph mode, median (quartiles) of "
        f"{lines[0]['rounds']} rounds in which each took its turn; ratio to "
        f"{BASELINE} of the same round; copy bandwidth: {BYTES_PER_PARAMETER} "
        "bytes for each parameter at the speed of a copy in the same rounds. "
        f"{machine['cores']} cores ({machine['processor']}), TensorFlow "
        f"{versions['tensorflow']}, Keras {versions['keras']}, kbp at "
        f"{', '.join(commits)}.",
    ]
    return "\n".join(text)


def _table(case, figures):
    table = Table(title=f"one step, {case} variables")
    table.add_column("optimizer")
    for column in ("median", "quartiles", "ratio", "of copy bandwidth"):
        table.add_column(column, justify="right")
    for figure in figures:
        low, high = figure.quartiles
        table.add_row(
            figure.name,
            f"{figure.milliseconds:.1f} ms",
            f"{low:.1f} - {high:.1f}",
            f"{figure.ratio:.2f}",
            f"{figure.bandwidth:.0%}",
        )
    return table
