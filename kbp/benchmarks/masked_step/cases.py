"""What masks add to the time of a training step."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kbp import models, sparsity
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance, rounds
from kbp.benchmarks.core.registry import register
from kbp.benchmarks.optimizers.trial import network

DENSE = "dense"
STEPS = 5  # of each turn
BATCH = 64
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "ResNet-20": lambda: network(24, blocks=3),
    "Pyramid-BPNet": lambda: models.PyramidBPNet((32, 32, 3), 10, width=32),
    "BP-Transformer": lambda: models.BPTransformer(
        (96, 7), 96, head="forecasting", patch_size=8
    ),
}


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Train a network with and without masks, in turns.

    Args:
        name: of `NETWORKS`.
        rounds: in which each takes its turn.

    Returns:
        `milliseconds` of a step without masks, and by kind of mask `ratios`,
        the medians over the rounds of its time over that.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    dense = NETWORKS[name]()
    trained = {DENSE: dense} | {
        kind: sparsity.apply_dtm(dense, granularity=kind)
        for kind in ("element", "channel")
    }
    runs = {kind: _step(model) for kind, model in trained.items()}
    took: dict[str, list[float]] = {kind: [] for kind in runs}
    for i in range(rounds + 1):
        for kind, run in runs.items():
            start = time.perf_counter()
            run()
            if i > 0:  # the first round traces
                took[kind].append(1000 * (time.perf_counter() - start) / STEPS)
    base = took.pop(DENSE)
    return {
        "milliseconds": statistics.median(base),
        "ratios": {
            kind: statistics.median(
                a / b for a, b in zip(values, base, strict=True)
            )
            for kind, values in took.items()
        },
    }


def _step(model: keras.Model) -> Callable[[], Any]:
    """Return a function that trains a model for some steps."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, *model.input_shape[1:])).astype("float32")
    y = rng.normal(size=(BATCH, *model.output_shape[1:])).astype("float32")
    batches = tf.data.Dataset.from_tensors((x, y)).repeat()
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "mse")

    def run() -> Any:
        return model.fit(
            batches, steps_per_epoch=STEPS, shuffle=False, verbose=0
        )

    return run


def markdown_table(lines: list[dict[str, Any]]) -> str:
    """Return measured networks as Markdown: a table, and how it was made."""
    titles = ("network", "a step", "masks on weights", "masks on channels")
    return "\n".join(
        [
            *markdown.table(titles, map(_cells, lines)),
            "",
            f"Training steps of SGD with batches of {BATCH}, on all cores; "
            f"medians of {rounds(lines)} rounds in which each took "
            f"{STEPS} steps in turn, as times that of the same network without "
            "masks in the same round. " + provenance(lines[0], lines),
        ]
    )


def _cells(line: dict[str, Any]) -> list[str]:
    ratios = (f"{line['ratios'][kind]:.2f}x" for kind in ("element", "channel"))
    return [line["case"], f"{line['milliseconds']:.1f} ms", *ratios]


MASKED_STEP = register(
    Cases(
        name="masked-step",
        kind="network",
        cases=NETWORKS,
        measure=lambda name, rounds: {
            "rounds": rounds,
            **measure(name, rounds),
        },
        show=lambda line: markdown.row(_cells(line)),
        markdown_table=markdown_table,
    )
)
