"""One row of a run's result table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kbp._utils.machine import sets_in_words
from kbp.tasks.registry import format_score

POST_TRAINING = "int8 .tflite, not trained"


@dataclass(frozen=True)
class Stage:
    """What a model has become at one stage of a run.

    Attributes:
        name: of the stage.
        score: of the test examples, by the metric of the run's task.
        parameters: number of weights, without those of masks and ranges.
        nonzero: how many of them are not zero.
        file_size: in bytes; `None` if the stage is no file of its own.
        latency: of one example, in milliseconds; `None` for Keras models.
        speed_up: over the float32 `.tflite` file; where channels are gone,
            over that with all of them.
    """

    name: str
    score: float
    parameters: int
    nonzero: int
    file_size: int | None
    latency: float | None = None
    speed_up: float | None = None

    @staticmethod
    def headings(metric: str) -> tuple[str, ...]:
        """Return the headings of a table whose score is of a metric."""
        return (
            *("stage", metric, "parameters", "non-zero"),
            *("file size", "latency", "speed-up"),
        )

    def cells(self, metric: str) -> tuple[str, ...]:
        """Return the row as text, in the order of `headings`."""
        latency = self.latency is not None
        return (
            self.name,
            format_score(metric, self.score),
            f"{self.parameters:,.0f}",
            f"{self.nonzero:,.0f}",
            "-"
            if self.file_size is None
            else f"{self.file_size / 1e3:,.0f} kB",
            f"{self.latency:.3f} ms" if latency else "-",
            f"{self.speed_up:.2f}x" if latency else "-",
        )


def result_in_words(stages: Sequence[Stage], run: Mapping[str, Any]) -> str:
    """Return what became of a model, from its first stage to its last file.

    Args:
        stages: of the run, the file to ship last.
        run: what `run.json` holds.
    """
    first, last = stages[0], stages[-1]
    metric, file = run["metric"], last.name.split()[0]
    before, after = (format_score(metric, s.score) for s in (first, last))
    if before.endswith("%") and first.score > 0:
        share = last.score / first.score
        kept = "all" if share >= 1 else f"{share:.1%}"
        quality = f"keeps {kept} of the {metric} ({before} before, {after} now)"
    else:
        quality = f"has {metric} {after}, where the model had {before}"
    dense = next(s for s in stages if s.latency is not None)
    than = dense.name.replace(" .tflite", " file").replace(", ", " with ")
    if dense is last:
        return f"The {file} file {quality} and takes {last.latency:.3g} ms."
    size = (last.file_size or 0) / (dense.file_size or 1)
    return (
        f"The {file} file {quality}, is {last.speed_up:.1f} times as fast as "
        f"the {than} on this processor "
        f"({sets_in_words(run['machine'])}), and {size:.2f} of its size."
    )
