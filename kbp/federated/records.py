"""Arrays and plain values as Flower's records, and what rounds ask for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kbp.federated.exchange import Arrays
from kbp.federated.flower import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MetricRecord,
    RecordDict,
)

ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"
CLIENT = "client"  # the record with a client's name
EXAMPLES = "num-examples"  # as Flower's strategies weigh replies by


@dataclass(frozen=True)
class Request:
    """What the server asks of a client in a round.

    Attributes:
        stage: of the training.
        architecture: of the model, as JSON; "" where clients build it.
        files: what the server's data set says of itself, as JSON; "" where
            there is none.
        done: epochs that were before.
        epochs: of this round.
        total: epochs of the stage.
        learning_rate: its peak.
        seed: of its batches.
    """

    stage: str
    architecture: str
    files: str
    done: int
    epochs: int
    total: int
    learning_rate: float
    seed: int

    @property
    def text_bytes(self) -> int:
        """Bytes of what is sent besides weights."""
        return len(self.architecture.encode()) + len(self.files.encode())

    def as_config(self) -> ConfigRecord:
        """Return it as Flower sends it."""
        return ConfigRecord(asdict(self))

    @classmethod
    def of(cls, message: Message) -> "Request":
        """Return what a message asks."""
        config = config_of(message)
        return cls(**{name: config[name] for name in cls.__dataclass_fields__})


def content(
    arrays: Mapping[str, np.ndarray] | None = None,
    metrics: Mapping[str, float] | None = None,
    config: ConfigRecord | None = None,
    client: str | None = None,
) -> RecordDict:
    """Return a message's content; what is `None` is left out."""
    found: dict[str, ArrayRecord | MetricRecord | ConfigRecord] = {}
    if arrays is not None:
        found[ARRAYS] = as_record(arrays)
    if metrics is not None:
        found[METRICS] = MetricRecord({**metrics})
    if config is not None:
        found[CONFIG] = config
    if client is not None:
        found[CLIENT] = ConfigRecord({"name": client})
    return RecordDict(found)


def as_record(arrays: Mapping[str, np.ndarray]) -> ArrayRecord:
    """Return arrays as Flower sends them, in the same order."""
    return ArrayRecord(
        {name: Array(np.asarray(array)) for name, array in arrays.items()}
    )


def as_arrays(record: ArrayRecord) -> Arrays:
    """Return the arrays of a record, in the same order."""
    return {name: array.numpy() for name, array in record.items()}


def arrays_of(message: Message) -> Arrays:
    """Return the arrays of a message."""
    return as_arrays(message.content.array_records[ARRAYS])


def metrics_of(message: Message) -> dict[str, float]:
    """Return the metrics of a message, which are numbers."""
    record = message.content.metric_records[METRICS]
    return {k: v for k, v in record.items() if isinstance(v, int | float)}


def config_of(message: Message) -> dict[str, Any]:
    """Return what a message says besides arrays."""
    return dict(message.content.config_records[CONFIG])
