"""One row of a run's result table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """What a model has become at one point of the road.

    Attributes:
        name: of the stage.
        accuracy: share of the test examples that are right, in [0, 1].
        parameters: number of weights, without those of masks and ranges.
        nonzero: how many of them are not zero.
        file_size: in bytes; `None` if the stage is no file of its own.
        latency: of one example, in milliseconds; `None` for Keras models.
        speed_up: over the float32 `.tflite` file.
    """

    name: str
    accuracy: float
    parameters: int
    nonzero: int
    file_size: int | None
    latency: float | None = None
    speed_up: float | None = None

    HEADINGS = (
        "stage",
        "accuracy",
        "parameters",
        "non-zero",
        "file size",
        "latency",
        "speed-up",
    )

    def cells(self) -> tuple[str, ...]:
        """Return the row as text, in the order of `HEADINGS`."""
        latency = self.latency is not None
        return (
            self.name,
            f"{self.accuracy:.2%}",
            f"{self.parameters:,}",
            f"{self.nonzero:,}",
            "-"
            if self.file_size is None
            else f"{self.file_size / 1e3:,.0f} kB",
            f"{self.latency:.3f} ms" if latency else "-",
            f"{self.speed_up:.2f}x" if latency else "-",
        )
