"""Which replies of clients count, and why others do not."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from kbp.federated import deltas
from kbp.federated.exchange import Arrays, Exchange, pooled
from kbp.federated.flower import Message
from kbp.federated.records import (
    ARRAYS,
    CLIENT,
    EXAMPLES,
    METRICS,
    arrays_of,
    as_record,
    metrics_of,
)

# How Flower writes what a client's code has raised.
_RAISED = re.compile(r"<class '(?:\w+\.)*(\w+)'>:<'(.*)'>", re.DOTALL)
_FEWEST = 3  # updates, of which a median says something


class Replies:
    """Sorts out which of the clients' replies count.

    Args:
        exchange: of the server's model.
        nodes: their names, by their numbers; what replies say is added.
        longest_update: how many times as long as the median an update may be;
            0 for any.
        own: names of what each client has for itself, whose length counts for
            nothing.
    """

    def __init__(
        self,
        exchange: Exchange,
        nodes: dict[int, str],
        longest_update: float,
        own: Collection[str] = (),
    ):
        self.exchange, self.longest = exchange, longest_update
        self.names, self.own = nodes, {*own}

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
        rows: list[dict[str, Any]] = []
        fine: list[Message] = []
        size = 0
        for node in sorted(asked):
            reply = found.get(node)
            if reply is None:
                reason = "has not answered in time"
            elif reply.has_error():
                reason = said(reply.error.reason) or "has failed"
            else:
                size += sum(
                    record.count_bytes()
                    for record in reply.content.array_records.values()
                )
                self.name(reply)
                reason = self.twice(node, fine) or self.decoded(reply, sent)
            name = self.names.get(node, f"node {node}")
            row = {"client": name, "node": node, "left_out": reason}
            if reply is not None and not reason:
                fine.append(reply)
                row |= metrics_of(reply)
                row["examples"] = row.pop(EXAMPLES)
            rows.append(row)
        return self.without_long(fine, rows, sent), rows, size

    def name(self, reply: Message) -> None:
        """Note which client a node is."""
        record = reply.content.config_records.get(CLIENT)
        if record is not None:
            node = reply.metadata.src_node_id
            self.names[node] = str(record["name"])

    def twice(self, node: int, others: Iterable[Message]) -> str:
        """Return that a node has another's number, or ""."""
        names = [self.names.get(x.metadata.src_node_id) for x in others]
        if node in self.names and self.names[node] in names:
            return "another node has its partition-id"
        return ""

    def decoded(self, reply: Message, sent: Arrays) -> str:
        """Make a reply's arrays weights; return why not, or ""."""
        content = reply.content
        if {*content.array_records} != {ARRAYS} or {
            *content.metric_records
        } != {METRICS}:
            return "has sent other records than asked for"
        arrays = arrays_of(reply)
        if deltas.is_encoded(arrays):
            exact = self.exchange.statistics
            trained = {k: v for k, v in sent.items() if k not in exact}
            try:
                changes = deltas.decode(arrays, trained)
            except ValueError as error:
                return str(error)
            arrays |= {k: sent[k] + changes[k] for k in trained}
            arrays = {name: arrays[name] for name in sent if name in arrays}
            content.array_records[ARRAYS] = as_record(arrays)
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
        for _, name, _ in self.exchange.moments:
            if (arrays[name] < 0).any():
                return f"has sent {name}, a variance, of less than 0"
        metrics = metrics_of(reply)
        if not all(np.isfinite(value) for value in metrics.values()):
            return "has sent a loss or metric that is not finite"
        if not metrics.get(EXAMPLES, 0) > 0:
            return "has trained on no example"
        return ""

    def without_long(
        self, fine: list[Message], rows: list[dict[str, Any]], sent: Arrays
    ) -> list[Message]:
        """Return the replies without those that are too long, and say so."""
        if not self.longest or len(fine) < _FEWEST:
            return fine
        statistics = self.exchange.statistics
        for names in ({*sent} - statistics, statistics):
            names = names - self.own
            lengths = {
                x.metadata.src_node_id: length(x, sent, names) for x in fine
            }
            median = float(np.median([*lengths.values()]))
            for row in rows:
                own = lengths.get(row["node"], 0.0)
                if median and own > self.longest * median:
                    row["left_out"] = (
                        f"its update is {own / median:.0f} times as long as "
                        "the median"
                    )
        left = {row["node"] for row in rows if row["left_out"]}
        return [x for x in fine if x.metadata.src_node_id not in left]

    def statistics(self, fine: Iterable[Message], *, pool: bool) -> Arrays:
        """Return what no gradient trains, over the clients' examples.

        Args:
            fine: replies that count.
            pool: whether variances are those of all values together, and not
                the mean of the clients'.
        """
        replies = [*fine]
        weights = [metrics_of(x)[EXAMPLES] for x in replies]
        arrays = [arrays_of(x) for x in replies]
        found: Arrays = {}
        for name in self.exchange.statistics:
            values = [a[name] for a in arrays]
            mean = np.average(values, axis=0, weights=weights)
            found[name] = mean.astype("float32")
        if pool:
            found |= pooled(self.exchange, arrays, weights)
        return found


def length(reply: Message, sent: Arrays, names: Iterable[str]) -> float:
    """Return the norm of the change of some arrays."""
    arrays = arrays_of(reply)
    squares = (
        np.square(arrays[name].astype("float64") - sent[name]).sum()
        for name in names
    )
    return float(np.sqrt(sum(squares)))


def said(reason: str | None) -> str:
    """Return why a client has failed, in a line.

    Example:
    >>> said("<class 'kbp.errors.UserError'>:<'client 1: no file'>")
    'UserError: client 1: no file'
    """
    text = reason or ""
    if found := _RAISED.fullmatch(text):
        text = ": ".join(found.groups())
    return " ".join(text.split())
