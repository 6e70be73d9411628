"""Arrays and plain values as Flower's records, and what rounds ask for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
import numpy as np

from kbp.federated.exchange import Arrays
from kbp.federated.flower import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
)

ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"
CLIENT = "client"  # the record with a client's number
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
    """

    stage: str
    architecture: str
    files: str
    done: int
    epochs: int
    total: int
    learning_rate: float

    def as_config(self) -> ConfigRecord:
        """Return it as Flower sends it."""
        return ConfigRecord(asdict(self))

    @classmethod
    def of(cls, message: Message) -> "Request":
        """Return what a message asks."""
        config = message.content[CONFIG]
        return cls(**{name: config[name] for name in cls.__dataclass_fields__})


def as_record(arrays: Mapping[str, np.ndarray]) -> ArrayRecord:
    """Return arrays as Flower sends them, in the same order."""
    return ArrayRecord(
        {name: Array(np.asarray(array)) for name, array in arrays.items()}
    )


def as_arrays(record: ArrayRecord) -> Arrays:
    """Return the arrays of a record, in the same order."""
    return {name: array.numpy() for name, array in record.items()}
