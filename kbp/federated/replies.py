"""Which replies of clients count, and why others do not."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kbp.federated import deltas
from kbp.federated.exchange import Arrays, Exchange
from kbp.federated.flower import Message
from kbp.federated.records import (
    ARRAYS,
    CLIENT,
    EXAMPLES,
    METRICS,
    as_arrays,
    as_record,
)

# How Flower writes what a client's code has raised.
_RAISED = re.compile(r"<class '(?:\w+\.)*(\w+)'>:<'(.*)'>", re.DOTALL)
_FEWEST = 3  # updates, of which a median says something


class Replies:
    """Sorts out which of the clients' replies count.

    Args:
        exchange: of the server's model.
        longest_update: how many times as long as the median an update may be;
            0 for any.
    """

    def __init__(self, exchange: Exchange, longest_update: float):
        self.exchange, self.longest = exchange, longest_update
        self.names: dict[int, str] = {}

    def sorted_out(
        self, asked: Sequence[int], replies: list[Message], sent: Arrays
    ) -> tuple[list[Message], list[dict[str, Any]], int]:
        """Return the replies that count, a row for each client, and bytes.

        Args:
            asked: nodes that were asked.
            replies: that came in time.
            sent: what they were sent.

        Returns:
            Replies whose arrays are float32 weights; rows as in `Round`; how
            many bytes of updates have come.
        """
        found = {reply.metadata.src_node_id: reply for reply in replies}
        rows, fine, size = [], [], 0
        for node in sorted(asked):
            reply = found.get(node)
            if reply is None:
                reason = "has not answered in time"
            elif reply.has_error():
                reason = said(reply.error.reason)
            else:
                size += sum(
                    record.count_bytes()
                    for record in reply.content.array_records.values()
                )
                self.name(reply)
                reason = self.decoded(reply, sent)
            name = self.names.get(node, f"node {node}")
            row = {"client": name, "node": node, "left_out": reason}
            if reply is not None and not reason:
                fine.append(reply)
                row |= dict(reply.content[METRICS])
                row["examples"] = row.pop(EXAMPLES)
            rows.append(row)
        return self.without_long(fine, rows, sent), rows, size

    def name(self, reply: Message) -> None:
        """Note which client a node is."""
        record = reply.content.get(CLIENT)
        if record is not None:
            node = reply.metadata.src_node_id
            self.names[node] = f"client {record['number']}"

    def decoded(self, reply: Message, sent: Arrays) -> str:
        """Make a reply's arrays weights; return why not, or ""."""
        content = reply.content
        if {*content.array_records} != {ARRAYS} or {
            *content.metric_records
        } != {METRICS}:
            return "has sent other records than asked for"
        arrays = as_arrays(content[ARRAYS])
        if deltas.is_encoded(arrays):
            try:
                changes = deltas.decode(arrays, sent)
            except ValueError as error:
                return str(error)
            arrays = {name: sent[name] + changes[name] for name in sent}
            content[ARRAYS] = as_record(arrays)
        if [*arrays] != [*sent]:
            return "has sent arrays of other names"
        for name, array in arrays.items():
            if array.shape != sent[name].shape:
                return (
                    f"has sent {name} of shape {array.shape}, and not "
                    f"{sent[name].shape}"
                )
            if not np.isfinite(array).all():
                return f"has sent {name}, which is not finite"
        metrics = content[METRICS]
        if not all(np.isfinite(value) for value in metrics.values()):
            return "has sent a loss or metric that is not finite"
        if not metrics.get(EXAMPLES, 0) > 0:
            return "has trained on no example"
        return ""

    def without_long(
        self, fine: list[Message], rows: list[dict[str, Any]], sent: Arrays
    ) -> list[Message]:
        """Return the replies without those that are too long, and say so."""
        lengths = {x.metadata.src_node_id: self.length(x, sent) for x in fine}
        if not self.longest or len(fine) < _FEWEST:
            return fine
        median = float(np.median([*lengths.values()]))
        for row in rows:
            length = lengths.get(row["node"], 0.0)
            if median and length > self.longest * median:
                row["left_out"] = (
                    f"its update is {length / median:.0f} times as long as "
                    "the median"
                )
        left = {row["node"] for row in rows if row["left_out"]}
        return [x for x in fine if x.metadata.src_node_id not in left]

    def length(self, reply: Message, sent: Arrays) -> float:
        """Return the norm of the change of the trained weights."""
        arrays = as_arrays(reply.content[ARRAYS])
        squares = (
            np.square(arrays[name].astype("float64") - sent[name]).sum()
            for name in sent
            if name not in self.exchange.statistics
        )
        return float(np.sqrt(sum(squares)))

    def mean(self, fine: Iterable[Message], names: Iterable[str]) -> Arrays:
        """Return some values' means, by the clients' examples."""
        replies = [*fine]
        weights = [float(x.content[METRICS][EXAMPLES]) for x in replies]
        arrays = [as_arrays(x.content[ARRAYS]) for x in replies]
        return {
            name: np.average(
                [a[name] for a in arrays], axis=0, weights=weights
            ).astype("float32")
            for name in names
        }


def said(reason: str) -> str:
    """Return why a client has failed, in a line.

    Example:
    >>> said("<class 'kbp.errors.UserError'>:<'client 1: no file'>")
    'UserError: client 1: no file'
    """
    if found := _RAISED.fullmatch(reason):
        reason = ": ".join(found.groups())
    return " ".join(reason.split())
