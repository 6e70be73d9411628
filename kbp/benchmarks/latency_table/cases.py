"""What networks with fewer channels take, predicted and measured."""

from collections.abc import Callable
from itertools import product
from typing import Any

import keras
import numpy as np

from kbp import export, models, sparsity
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance
from kbp.benchmarks.core.registry import register
from kbp.export.interpreter import allocate
from kbp.export.latency.table import DTYPES, exported
from kbp.export.latency.times import STEP, shortest

PRUNINGS = 20
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "MobileNetV2": lambda: keras.applications.MobileNetV2(
        (96, 96, 3), weights=None, classes=10
    ),
    "ResNet50": lambda: keras.applications.ResNet50(
        input_shape=(96, 96, 3), weights=None, classes=10
    ),
    "Pyramid-BPNet": lambda: models.PyramidBPNet((32, 32, 3), 10, width=64),
    "BP-Transformer": lambda: models.BPTransformer(
        (96, 7), 96, head="forecasting", patch_size=8
    ),
}
CASES = {
    f"{network}, {dtype}": (network, dtype)
    for network, dtype in product(NETWORKS, DTYPES)
}


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Prune a network at random, and measure and predict what is left.

    Each pruned file runs in turns with that of the whole network, and figures
    are shares of what that one takes: the machine may be busier at one time
    than at another.

    Args:
        name: of `CASES`.
        rounds: of each measurement.

    Returns:
        `parameters`, the share that was left each time; `predicted` and
        `measured`, the shares of the latency; `milliseconds` of the whole
        network.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    network, dtype = CASES[name]
    model = NETWORKS[network]()
    table = export.latency_table(model, dtype=dtype, rounds=rounds, cache=None)
    whole = allocate(exported(model, dtype), 1)
    masked = sparsity.apply_dtm(
        model, granularity="channel", protect_ends=False
    )
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {
        "milliseconds": table.milliseconds,
        **{key: [] for key in ("parameters", "predicted", "measured")},
    }
    for _ in range(PRUNINGS):
        most = rng.uniform(0.2, 1.0)
        for gate in sparsity.masked_layers(masked):
            stays = rng.random(gate.kernel.shape) >= rng.uniform(0, most)
            stays[0] = True
            gate.kernel.assign(stays)
        small = sparsity.shrink(masked, multiple_of=STEP)
        runs = [whole, allocate(exported(small, dtype), 1)]
        beside, took = shortest(runs, rounds)
        found["parameters"].append(small.count_params() / model.count_params())
        found["predicted"].append(table.predict(small) / table.milliseconds)
        found["measured"].append(took / beside)
    return found


def errors(line: dict[str, Any]) -> np.ndarray:
    """Return by what share of the measured latency each prediction is off."""
    predicted, measured = map(np.array, (line["predicted"], line["measured"]))
    return np.asarray(predicted / measured - 1)


def markdown_table(lines: list[dict[str, Any]]) -> str:
    """Return predicted networks as Markdown: a table, and how it was made."""
    titles = [
        *("network, file", "whole", "least left", "median error"),
        *("largest error", "within 10 %"),
    ]
    return "\n".join(
        [
            *markdown.table(titles, map(_cells, lines)),
            "",
            f"Errors of `latency_table(model).predict(pruned)`, as shares of "
            f"the measured latency; {PRUNINGS} random prunings of each network "
            f"to multiples of {STEP} channels, one thread. 'Least left' is the "
            "smallest share of the latency that one of them took. "
            + provenance(lines[0], lines),
        ]
    )


def _cells(line: dict[str, Any]) -> list[str]:
    away = np.abs(errors(line))
    return [
        line["case"],
        f"{line['milliseconds']:.3f} ms",
        f"{min(line['measured']):.0%}",
        f"{np.median(away):.1%}",
        f"{away.max():.1%}",
        f"{np.sum(away < 0.1)} of {len(away)}",
    ]


LATENCY_TABLE = register(
    Cases(
        name="latency-table",
        kind="network",
        cases=CASES,
        measure=measure,
        show=lambda line: markdown.row(_cells(line)),
        markdown_table=markdown_table,
    )
)
