"""Clients in this process: Flower's grid without a network."""

import itertools
import time
from collections.abc import Iterable, Sequence
from typing import Any

from kbp.federated.flower import (
    ClientApp,
    Context,
    Error,
    Grid,
    Message,
    RecordDict,
    TaskIdentity,
)
from kbp.federated.learner import CLIENT

_FAILED = 1  # code of an error that a client's own code has raised


class LocalGrid(Grid):
    """Flower's connection to clients who train in this process, in turn.

    They share the process's TensorFlow and, by `kbp.federated.client_app`, one
    compiled model. A client that fails answers with its error; one that takes
    longer than the timeout does not answer, as it would over a network.

    Args:
        app: of all clients.
        clients: how many.

    Attributes:
        contexts: what each node keeps, by its number from 1.
        seconds: which clients have worked in all.

    Example:
    >>> import kbp
    >>> from kbp.federated.flower import ClientApp
    >>> grid = kbp.federated.LocalGrid(ClientApp(), clients=3)
    >>> list(grid.get_node_ids())
    [1, 2, 3]
    """

    def __init__(self, app: ClientApp, clients: int):
        self.app = app
        self.contexts = {
            n + 1: Context(
                run_id=0,
                node_id=n + 1,
                node_config={CLIENT: n, "num-partitions": clients},
                state=RecordDict(),
                run_config={},
            )
            for n in range(clients)
        }
        self.seconds = 0.0
        self.replies: dict[str, Message] = {}
        self.numbers = itertools.count()
        # Flower's messages ask for them.
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 0

    def set_run(self, run: Any) -> None:
        self.current = run

    @property
    def run(self) -> Any:
        return getattr(self, "current", None)

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(
            content, dst_node_id, message_type, ttl=ttl, group_id=group_id
        )

    def get_node_ids(self) -> Sequence[int]:
        return list(self.contexts)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        replies = []
        for message in messages:
            start = time.perf_counter()
            reply = self.answer(message)
            took = time.perf_counter() - start
            self.seconds += took
            if timeout is None or took <= timeout:
                replies.append(reply)
        return replies

    def answer(self, message: Message) -> Message:
        """Return a client's reply, or the error that it has met."""
        context = self.contexts[message.metadata.dst_node_id]
        try:
            return self.app(message, context)
        except Exception as error:  # whatever a client's own code raises
            return Message(Error(_FAILED, _said(error)), reply_to=message)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        names = []
        for message in messages:
            name = str(next(self.numbers))
            self.replies[name] = self.answer(message)
            names.append(name)
        return names

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self.replies.pop(name) for name in message_ids]


def _said(error: Exception) -> str:
    """Return an error in one line."""
    lines = [
        line
        for line in str(error).splitlines()
        if line.strip() and "{{node" not in line
    ]
    if lines and lines[0].endswith(":"):  # TensorFlow's; the last says why
        lines = [f"{lines[0]} {lines[-1].strip()}"]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
