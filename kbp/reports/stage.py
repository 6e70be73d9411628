"""One row of a run's result table."""

from dataclasses import dataclass

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
