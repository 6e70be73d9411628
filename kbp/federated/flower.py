"""Flower, which the extra `kbp[federated]` installs.

The other modules of the room take Flower's names from here, so that there is
one place that says what to do without it.
"""

import logging

from kbp.errors import UserError

try:
    from flwr.app import (
        Array,
        ArrayRecord,
        ConfigRecord,
        Context,
        Error,
        Message,
        MessageType,
        MetricRecord,
        RecordDict,
    )
    from flwr.clientapp import ClientApp
    from flwr.serverapp import Grid, ServerApp
    from flwr.serverapp.strategy import Strategy
    from flwr.supercore.task_identity import TaskIdentity
except ImportError as error:
    raise UserError(
        "federated training needs Flower: pip install 'kbp[federated]' "
        f"({error})"
    ) from error

__all__ = [
    "Array",
    "ArrayRecord",
    "ClientApp",
    "ConfigRecord",
    "Context",
    "Error",
    "Grid",
    "Message",
    "MessageType",
    "MetricRecord",
    "RecordDict",
    "ServerApp",
    "Strategy",
    "TaskIdentity",
]

# Its lines on each message would hide those on each round.
logging.getLogger("flwr").setLevel(logging.WARNING)
