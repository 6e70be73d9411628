"""The server's side: rounds of a Flower strategy, watched."""

import contextlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
from flwr.serverapp import strategy as flower

from kbp.errors import UserError
from kbp.federated.exchange import Exchange
from kbp.federated.flower import (
    ArrayRecord,
    ConfigRecord,
    Grid,
    Message,
    MetricRecord,
    Strategy,
)
from kbp.federated.local import LocalGrid
from kbp.federated.records import (
    ARRAYS,
    EXAMPLES,
    Request,
    arrays_of,
    as_arrays,
    as_record,
    metrics_of,
)
from kbp.federated.replies import Replies
from kbp.federated.sites.members import Members, nodes_needed
from kbp.federated.strategy import aggregate_privately, is_private

# Those whose aggregate is a mean: its rule is for weights, and statistics are
# pooled in its place. Others are robust against bad ones, statistics as well.
_MEANS = (
    *(flower.FedAvg, flower.FedProx, flower.FedAvgM),
    *(flower.FedAdam, flower.FedYogi, flower.FedAdagrad),
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What all rounds of a stage have in common.

    Attributes:
        stage: its name.
        architecture: of the model, as JSON; "" where clients build it.
        epochs: of the stage.
        local_epochs: of a round; the last may have fewer.
        learning_rate: its peak.
        files: see `Request`.
        seed: of clients' batches, and of the draws of clients.
    """

    stage: str
    architecture: str
    epochs: int
    local_epochs: int
    learning_rate: float
    files: str = ""
    seed: int = 0

    @property
    def rounds(self) -> int:
        """How many there are."""
        return -(-self.epochs // self.local_epochs)

    def request(self, number: int) -> Request:
        """Return what a round asks, of which the first is 1."""
        done = (number - 1) * self.local_epochs
        return Request(
            self.stage,
            self.architecture,
            self.files,
            done,
            min(self.local_epochs, self.epochs - done),
            self.epochs,
            self.learning_rate,
            self.seed,
        )


@dataclass
class Round:
    """What has come of a round.

    Attributes:
        number: from 1.
        clients: a row for each: `client`, `left_out`, a reason or "", and what
            it has measured.
        metrics: means over the clients that count.
        bytes_down: that were sent to clients.
        bytes_up: that came back from training.
        silent: nodes that have not answered, or answered with an error.
        remark: what else is to say, or "".
    """

    number: int
    clients: list[Row] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    bytes_down: int = 0
    bytes_up: int = 0
    silent: set[int] = field(default_factory=set)
    remark: str = ""

    @property
    def left_out(self) -> dict[str, str]:
        """Why which clients do not count, by their names."""
        return {
            row["client"]: row["left_out"]
            for row in self.clients
            if row["left_out"]
        }


class Observer:
    """Sees the rounds, and may change the model between them."""

    def waiting(self, there: int, needed: int) -> None:
        """See that clients are waited for."""
        return

    def begin(self, number: int) -> None:
        """See a round begin; what the model is now goes to the clients."""
        return

    def end(self, done: Round) -> None:
        """See what came of a round, whose aggregate the model has."""
        return


class Rounds(Strategy):
    """Runs another strategy's rounds on a model.

    Updates that cannot count are left out by name before the other strategy
    sees the rest: of clients that fail, are late, send what is not finite, of
    other shapes, or more than `longest_update` times as long as the median.
    Changes in eight bits become weights again. Who trains in a round follows
    from the plan's seed.

    Args:
        inner: a strategy of Flower's.
        model: whose weights the rounds begin with, and end with.
        plan: of the stage.
        observer: of the rounds.
        longest_update: see above; 0 leaves none out for its length.
        timeout: seconds that clients have to answer.
        done: rounds that were before.
        batch_norm: how the clients share BatchNormalization, see
            `kbp.federated.client_app`.
        clients: how many must be there before the first round.
        nodes: names of those that have been there, which rounds add to.
    """

    def __init__(
        self,
        inner: Strategy,
        model: keras.Model,
        plan: Plan,
        observer: Observer,
        *,
        longest_update: float = 10.0,
        timeout: float = 3600.0,
        done: int = 0,
        batch_norm: str = "replace",
        clients: int = 1,
        nodes: dict[int, str] | None = None,
    ):
        self.pool = batch_norm == "replace"
        self.inner, self.plan, self.observer = inner, plan, observer
        self.exchange = Exchange(model)
        self.timeout, self.done = timeout, done
        nodes = {} if nodes is None else nodes
        self.replies = Replies(
            self.exchange,
            nodes,
            longest_update,
            own=self.exchange.of_batch_norm if batch_norm == "local" else (),
        )
        self.needed = max(clients, nodes_needed(inner))
        self.members = Members(nodes, self.needed, timeout, observer.waiting)

    def run(self, grid: Grid) -> None:
        """Run the rounds that are left.

        Raises:
            UserError: there are too few clients, or no client's update counted
                in a round.
        """
        if isinstance(grid, LocalGrid) and len(grid.contexts) < self.needed:
            raise UserError(
                f"the strategy needs {self.needed} clients, and there are "
                f"{len(grid.contexts)}"
            )
        if left := self.plan.rounds - self.done:
            self.start(
                grid,
                as_record(self.exchange.read()),
                num_rounds=left,
                timeout=self.timeout,
                evaluate_fn=self.end_round,
            )

    def summary(self) -> None:
        self.inner.summary()

    def configure_train(
        self,
        server_round: int,
        arrays: ArrayRecord,
        config: ConfigRecord,
        grid: Grid,
    ) -> Iterable[Message]:
        number = server_round + self.done
        nodes = self.members.of(grid)
        self.round = Round(number)
        self.observer.begin(number)
        self.sent = self.exchange.read()
        record = as_record(self.sent)
        config = self.plan.request(number).as_config()
        if isinstance(self.inner, flower.FedAvgM):
            # Its own may lack what the server has changed since, as masks.
            self.inner.current_arrays = None
        with _seeded(f"{self.plan.seed} {number}"):
            messages = [
                *self.inner.configure_train(number, record, config, nodes)
            ]
        self.asked = [message.metadata.dst_node_id for message in messages]
        size = record.count_bytes() + self.plan.request(number).text_bytes
        self.round.bytes_down = len(messages) * size
        return sorted(messages, key=lambda x: x.metadata.dst_node_id)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        replies = [*replies]
        answered = {x.metadata.src_node_id for x in replies if x.has_content()}
        self.round.silent = {*self.asked} - answered
        fine, self.round.clients, self.round.bytes_up = self.replies.sorted_out(
            self.asked, replies, self.sent
        )
        if not fine:
            reasons = "; ".join(
                f"{name}: {why}" for name, why in self.round.left_out.items()
            )
            raise UserError(
                f"{self.plan.stage}, round {self.round.number}: no client's "
                f"update counts. {reasons or 'No client was asked.'}"
            )
        record, metrics = self.aggregate(fine)
        if record is None:
            self.round.remark = (
                f"{len(fine)} updates are too few for the strategy; the model "
                "stays as it is"
            )
            return None, metrics
        arrays = as_arrays(record)
        if is_private(self.inner):  # what nobody trains is nobody's
            arrays |= {k: self.sent[k] for k in self.exchange.statistics}
        if type(self.inner) in _MEANS:
            arrays |= self.replies.statistics(fine, pool=self.pool)
        self.exchange.write(arrays)
        self.round.metrics = {
            key: float(value)
            for key, value in (metrics or {}).items()
            if key != "seconds" and isinstance(value, int | float)
        }
        return as_record(arrays), metrics

    def aggregate(
        self, fine: list[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Return what the other strategy makes of the replies that count."""
        number = self.round.number
        if not is_private(self.inner):
            return self.inner.aggregate_train(number, fine)
        for reply in fine:
            arrays = arrays_of(reply)
            arrays |= {k: self.sent[k] for k in self.exchange.statistics}
            reply.content.array_records[ARRAYS] = as_record(arrays)
        return aggregate_privately(self.inner, number, fine)

    def configure_evaluate(
        self,
        server_round: int,
        arrays: ArrayRecord,
        config: ConfigRecord,
        grid: Grid,
    ) -> Iterable[Message]:
        number = server_round + self.done
        config = self.plan.request(number).as_config()
        record = as_record(self.exchange.read())
        nodes = self.members.of(grid)
        with _seeded(f"{self.plan.seed} {number} evaluate"):
            messages = [
                *self.inner.configure_evaluate(number, record, config, nodes)
            ]
        # Who has not answered would be waited for again.
        silent = self.round.silent
        messages = [x for x in messages if x.metadata.dst_node_id not in silent]
        size = record.count_bytes() + self.plan.request(number).text_bytes
        self.round.bytes_down += len(messages) * size
        return sorted(messages, key=lambda x: x.metadata.dst_node_id)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        rows = {row["node"]: row for row in self.round.clients}
        fine = []
        for reply in sorted(replies, key=lambda x: x.metadata.src_node_id):
            metrics = {} if reply.has_error() else metrics_of(reply)
            if not metrics.pop(EXAMPLES, 0):
                continue
            fine.append(reply)
            row = rows.get(reply.metadata.src_node_id)
            if row is not None:
                row |= {f"val_{name}": value for name, value in metrics.items()}
        if not fine:
            return None
        return self.inner.aggregate_evaluate(self.round.number, fine)

    def end_round(
        self, server_round: int, arrays: ArrayRecord
    ) -> MetricRecord | None:
        """Let the observer see a round, once all of it is over."""
        if server_round:
            self.observer.end(self.round)
        return None


@contextlib.contextmanager
def _seeded(seed: str) -> Iterator[None]:
    """Seed Python's random numbers, by which Flower draws clients."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
