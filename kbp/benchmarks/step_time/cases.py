"""Time of one optimizer step, compared with the optimizers of Keras."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import optimizers
from rich.table import Table

from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance, rounds
from kbp.benchmarks.core.registry import register
from kbp.errors import check_known
from kbp.optimizers import HybridOptimizer

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
CASES: dict[str, list[tuple[int, ...]]] = {
    # 80 convolutions with the scale and shift of their BatchNormalization.
    SMALL: [
        shape
        for i in range(80)
        for kernel in [_BLOCKS[i % len(_BLOCKS)]]
        for shape in (kernel, kernel[-1:], kernel[-1:])
    ],
    "25 M in 24": [(1024, 1024)] * 24,
}
# Matrix products of 1024 x 1024 take seconds on a CPU.
SMALL_ONLY = ("HybridOptimizer, matrix",)


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
        milliseconds: median of steps that follow another of its own.
        quartiles: first and third, in milliseconds.
        ratio: median over the rounds of its time relative to the baseline's.
        cold: the same of a turn's first step, before which the others' states
            went through the caches, as a network's activations do.
        bandwidth: share of the copy bandwidth, measured in the same rounds,
            that 36 bytes for each parameter in this time are.
    """

    name: str
    milliseconds: float
    quartiles: tuple[float, float]
    ratio: float
    cold: float
    bandwidth: float


def measure(case: str, *, rounds: int = 30, seed: int = 0) -> list[Figure]:
    """Measure every optimizer in turns of five steps, in several rounds.

    Args:
        case: a key of `CASES`.
        rounds: in which each takes its turn.
        seed: of weights and gradients.

    Raises:
        UserError: there is no such case.
    """
    check_known("case", [case], CASES)
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
    cold: dict[str, list[float]] = {name: [] for name in runs}
    warm: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds + 1):
        for name, run in runs.items():
            turn = [_milliseconds(run) for _ in range(5)]
            if i > 0:  # the first round traces and compiles
                cold[name].append(turn[0])
                warm[name].append(statistics.median(turn[1:]))
    copy = statistics.median(warm.pop("copy"))
    return [
        Figure(
            name,
            statistics.median(values),
            tuple(np.percentile(values, (25, 75)).tolist()),
            _ratio(values, warm[BASELINE]),
            _ratio(cold[name], cold[BASELINE]),
            copy / statistics.median(values),
        )
        for name, values in warm.items()
    ]


def _milliseconds(run):
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def _ratio(values, baseline):
    pairs = zip(values, baseline, strict=True)
    return statistics.median(a / b for a, b in pairs)


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


def markdown_table(lines: list[dict]) -> str:
    """Return measured cases as Markdown: a table, and how it was measured."""
    rows = []
    for line in lines:
        for figure in line["figures"]:
            low, high = figure["quartiles"]
            rows.append(
                [
                    line["case"],
                    figure["name"],
                    f"{figure['milliseconds']:.1f} ms ({low:.1f} - {high:.1f})",
                    f"{figure['ratio']:.2f}",
                    f"{figure['cold']:.2f}",
                    f"{figure['bandwidth']:.0%}",
                ]
            )
    titles = [
        *("parameters", "optimizer", "step", "ratio", "ratio, cold"),
        "of copy bandwidth",
    ]
    text = [
        *markdown.table(titles, rows, texts=2),
        "",
        "The optimizer's step alone, in graph mode, median (quartiles) of "
        f"{rounds(lines)} rounds in which each took five steps in turn; "
        f"ratio to {BASELINE} of the same round; cold: that of the turns' "
        "first steps, before which the others' states went through the caches; "
        "copy bandwidth: "
        f"{BYTES_PER_PARAMETER} bytes for each parameter at the speed of a "
        "copy, by one thread, in the same rounds. "
        + provenance(lines[0], lines),
    ]
    return "\n".join(text)


def show(line: dict) -> Table:
    """Return a measured case as a table for the console."""
    table = Table(title=f"one step, {line['case']} variables")
    table.add_column("optimizer")
    for column in ("median", "quartiles", "ratio", "cold", "of copying"):
        table.add_column(column, justify="right")
    for figure in (Figure(**figure) for figure in line["figures"]):
        low, high = figure.quartiles
        table.add_row(
            figure.name,
            f"{figure.milliseconds:.1f} ms",
            f"{low:.1f} - {high:.1f}",
            f"{figure.ratio:.2f}",
            f"{figure.cold:.2f}",
            f"{figure.bandwidth:.0%}",
        )
    return table


def _line(case, rounds):
    return {
        "parameters": sum(map(math.prod, CASES[case])),
        "rounds": rounds,
        "figures": [vars(x) for x in measure(case, rounds=rounds)],
    }


STEP_TIME = register(
    Cases(
        name="step-time",
        cases=CASES,
        measure=_line,
        show=show,
        markdown_table=markdown_table,
    )
)
