"""Memory and time of truncated training steps, and what they can learn."""

import statistics
import time
from pathlib import Path

import keras
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from kbp._utils import style
from kbp._utils.files import write_atomically
from kbp._utils.machine import peak_memory
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance
from kbp.benchmarks.core.pool import environment, in_new_process
from kbp.benchmarks.core.registry import register
from kbp.benchmarks.truncation import copying
from kbp.layers import TruncatedRNN

TIME, _FEATURES, _WIDTH, _BATCH = 1000, 8, 64, 256
_STEPS = 3  # that are measured, after those that trace the graph
_SEEDS = 3
# Lets new processes return what they free, which takes them time. Else glibc
# keeps the places of small tensors, up to twice of what is used.
_MMAP = "MALLOC_MMAP_THRESHOLD_"
OUTPUTS = {"last output": False, "all outputs": True}
# What is measured, by name: of a step, whether all outputs are wanted and how
# far gradients go back; of the task, the latter alone.
STEPS: dict[str, tuple[bool, int | None]] = {
    f"{name}, {steps or 'all'} steps": (sequences, steps)
    for name, sequences in OUTPUTS.items()
    for steps in (10, 50, 200, None)
}
COPIES = {
    f"recall after {copying.LENGTH}, {steps} steps": steps
    for steps in (50, 150, copying.LENGTH)
}


def measure(name: str, rounds: int) -> dict:
    """Measure training steps, or train on the task.

    Args:
        name: of a case.
        rounds: of measured steps, at most three.

    Returns:
        `memory`, by how many bytes the largest memory of a process grew, and
        `seconds` of processor time of a step, medians of processes of their
        own; or `losses` of the seeds.
    """
    if name in COPIES:
        seeds = range(_SEEDS)
        return {"losses": [copying.loss_after(COPIES[name], n) for n in seeds]}
    turns, case = range(min(rounds, 3)), STEPS[name]
    with environment({_MMAP: "32768"}):
        memory = [in_new_process(train, *case)[0] for _ in turns]
    seconds = [in_new_process(train, *case)[1] for _ in turns]
    return {
        "memory": statistics.median(memory),
        "seconds": statistics.median(seconds),
    }


def train(
    sequences: bool, steps: int | None, batch_size: int = _BATCH
) -> tuple[int, float]:
    """Take some steps of an LSTM.

    Args:
        sequences: whether its outputs are all wanted.
        steps: of truncation.
        batch_size: examples in a step.

    Returns:
        Bytes that the process's memory grew by, and processor seconds of a
        step.
    """
    keras.utils.set_random_seed(0)
    lstm = keras.layers.LSTM(_WIDTH, return_sequences=sequences)
    model = keras.Sequential(
        [
            keras.Input((TIME, _FEATURES)),
            TruncatedRNN(lstm, steps),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse", jit_compile=False)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch_size, TIME, _FEATURES)).astype("float32")
    y = np.zeros((batch_size, *model.output_shape[1:]), "float32")
    for few in (1, 2, 3):  # the last graph takes batches of any size
        model.train_on_batch(x[:few], y[:few])
    before, taken = peak_memory(), []
    for _ in range(_STEPS):
        start = time.process_time()
        model.train_on_batch(x, y)
        taken.append(time.process_time() - start)
    return peak_memory() - before, statistics.median(taken)


def _cells(line: dict, full: dict) -> list[str]:
    """Return the row of a measured step, beside that of all steps."""
    return [
        line["case"],
        f"{line['memory'] / 1e6:,.0f} MB",
        f"{line['memory'] / full['memory']:.2f}",
        f"{line['seconds']:.2f} s",
    ]


def _show(line: dict) -> str:
    if "losses" in line:
        return f"{line['case']}: {_losses(line)}"
    return markdown.row(_cells(line, line))


def _losses(line: dict) -> str:
    return ", ".join(f"{loss:.3f}" for loss in line["losses"])


def _full(line: dict, lines: list[dict]) -> dict:
    """Return the line of the same outputs without truncation."""
    name = line["case"].partition(",")[0]
    found = [x for x in lines if x["case"] == f"{name}, all steps"]
    return found[0] if found else line


def markdown_table(lines: list[dict]) -> str:
    """Return measured cases as Markdown: tables, and how they were measured."""
    steps = [x for x in lines if "memory" in x]
    tasks = [x for x in lines if "losses" in x]
    titles = ["outputs, gradients through", "memory", "of all", "step"]
    cells = [_cells(x, _full(x, steps)) for x in steps]
    losses = [[x["case"], _losses(x)] for x in tasks]
    return "\n".join(
        [
            *markdown.table(titles, cells),
            "",
            *markdown.table(["task, gradients through", "losses"], losses),
            "",
            f"Steps of an LSTM of {_WIDTH} units on {_BATCH} sequences of "
            f"{TIME:,} steps, float32, in blocks: by how much the largest "
            "memory of a process grows, with what holds the outputs and where "
            f"glibc returns what is freed ({_MMAP}=32768); and processor time "
            "where it does not. Each in a new process. The task: recall the "
            "first of "
            f"{copying.LENGTH} random symbols after the last one; "
            f"cross-entropy on other sequences, {np.log(copying.SYMBOLS):.3f} "
            "by chance, one for each seed. " + provenance(lines[0], lines),
        ]
    )


def plot(lines: list[dict]) -> str:
    """Plot memory and time of a step over how far gradients go back."""
    with matplotlib.rc_context({**style.STYLE}):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        panels = {"memory": (1e-6, "MB"), "seconds": (1.0, "s")}
        for axes, (key, (scale, unit)) in zip(
            figure.subplots(1, 2), panels.items(), strict=True
        ):
            for name, color in zip(OUTPUTS, style.COLORS, strict=False):
                found = {
                    STEPS[x["case"]][1] or TIME: scale * x[key]
                    for x in lines
                    if key in x and x["case"].startswith(name)
                }
                axes.plot(
                    [*found], [*found.values()], "o-", label=name, c=color
                )
            axes.set_title(f"{key} of a step, {unit}", loc="left")
            axes.set_xlabel(f"gradients through so many of {TIME:,} steps")
            axes.set_ylim(0)
            axes.grid(axis="y")
            axes.legend(frameon=False)
        return style.as_svg(figure)


class _Truncation(Cases):
    """The cases, with a figure of the steps."""

    def write_figures(self) -> list[Path]:
        lines = self.read(self.published)
        path = self.published.with_suffix(".svg")
        return [write_atomically(path, plot(lines))] if lines else []


TRUNCATION = register(
    _Truncation(
        name="truncation",
        cases={**STEPS, **COPIES},
        measure=measure,
        show=_show,
        markdown_table=markdown_table,
    )
)
