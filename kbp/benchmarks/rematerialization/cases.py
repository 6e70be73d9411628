"""Memory and time of training steps, with and without rematerialization."""

import contextlib
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from kbp import models
from kbp._utils.machine import peak_memory
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance
from kbp.benchmarks.core.pool import in_new_process
from kbp.benchmarks.core.registry import register
from kbp.training.techniques.rematerialize import computed_twice

_STEPS = 4  # of which the first traces the graph
_IMAGE, _SERIES = (256, 256, 3), (336, 7)


def _segmentation() -> keras.Model:
    return models.PyramidBPNet(_IMAGE, 2, head="segmentation", size="small")


def _forecast() -> keras.Model:
    return models.BPTransformer(_SERIES, 96, width=64, patch_size=4)


# What makes a model, and how many examples a batch has.
CASES: dict[str, tuple[Callable[[], keras.Model], int]] = {
    "Pyramid-BPNet, 24 images of 256x256": (_segmentation, 24),
    "BP-Transformer, 64 windows of 336": (_forecast, 64),
}


def measure(name: str, rounds: int) -> dict:
    """Train for some steps, each round in processes of their own.

    Args:
        name: of a case.
        rounds: are measured, at most three.

    Returns:
        `plain` and `twice`, each with `memory`, by how many bytes the largest
        memory of the process grew in the first steps, and `seconds` of
        processor time of a step; medians.
    """
    found: dict[str, list[tuple[int, float]]] = {"plain": [], "twice": []}
    for _ in range(min(rounds, 3)):
        for kind, own in found.items():
            own.append(in_new_process(steps, name, kind == "twice"))
    return {
        kind: {
            "memory": statistics.median(memory for memory, _ in own),
            "seconds": statistics.median(seconds for _, seconds in own),
        }
        for kind, own in found.items()
    }


def steps(name: str, twice: bool) -> tuple[int, float]:
    """Take some steps of a case.

    Args:
        name: of the case.
        twice: whether blocks are computed twice.

    Returns:
        Bytes that the process's memory grew by, and processor seconds of a
        step.
    """
    make, size = CASES[name]
    keras.utils.set_random_seed(0)
    model = make()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(size, *model.input_shape[1:])).astype("float32")
    y, loss = _targets(model, size)
    model.compile("adam", loss, jit_compile=False)
    step = partial(model.train_on_batch, x, y)
    before, taken = peak_memory(), []
    with computed_twice(model) if twice else contextlib.nullcontext():
        for _ in range(_STEPS):
            start = time.process_time()
            step()
            taken.append(time.process_time() - start)
    return peak_memory() - before, statistics.median(taken[1:])


def _targets(model: keras.Model, size: int) -> tuple[np.ndarray, Any]:
    shape = (size, *model.output_shape[1:])
    if len(shape) == 4:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return np.zeros(shape[:-1], "int32"), loss
    return np.zeros(shape, "float32"), "mse"


def _cells(line: dict) -> list[str]:
    plain, twice = line["plain"], line["twice"]
    return [
        line["case"],
        f"{plain['memory'] / 1e6:,.0f} MB",
        f"{twice['memory'] / 1e6:,.0f} MB",
        f"{1 - twice['memory'] / plain['memory']:.0%}",
        f"{twice['seconds'] / plain['seconds']:.2f}",
    ]


def markdown_table(lines: list[dict]) -> str:
    """Return measured cases as Markdown: a table, and how it was measured."""
    titles = [
        *("network", "memory", "with `rematerialize`", "spared"),
        "times the processor time",
    ]
    return "\n".join(
        [
            *markdown.table(titles, map(_cells, lines)),
            "",
            f"By how much the largest memory of a process grows in {_STEPS} "
            "steps of Adam in float32: activations, gradients, and what "
            "TensorFlow takes once; and processor time of a step. Medians of "
            "three, each in a new process. " + provenance(lines[0], lines),
        ]
    )


REMATERIALIZATION = register(
    Cases(
        name="rematerialization",
        cases=CASES,
        measure=measure,
        show=lambda line: markdown.row(_cells(line)),
        markdown_table=markdown_table,
    )
)
