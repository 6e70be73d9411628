"""The client's side: a Flower `ClientApp` that trains where the data are."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kbp._utils.arguments import check_integer, check_one_of
from kbp.errors import UserError
from kbp.federated import deltas
from kbp.federated.exchange import Arrays
from kbp.federated.flower import ClientApp, Context, Message
from kbp.federated.learner import (
    Learner,
    ModelLearner,
    Part,
    RecipeLearner,
    Trained,
)
from kbp.federated.records import (
    ARRAYS,
    EXAMPLES,
    Request,
    arrays_of,
    as_arrays,
    as_record,
    config_of,
    content,
)
from kbp.recipes.federated import FederatedRecipe
from kbp.recipes.recipe import Recipe
from kbp.training.checkpoint import seed_states

# What a client keeps from round to round.
OPTIMIZER, SEEDS, NORMS, RESIDUAL = "optimizer", "seeds", "norms", "residual"


def client_app(
    source: Recipe | Callable[[], keras.Model],
    partition: Callable[[Mapping[str, Any]], Any] | None = None,
    *,
    data_dir: str | Path | None = None,
    batch_size: int = 32,
    optimizer_state: str = "keep",
    batch_norm: str = "replace",
    update: str = "float32",
    mods: Sequence[Any] = (),
) -> ClientApp:
    """Return a Flower `ClientApp` that trains a recipe or a model.

    A node's configuration holds `partition-id`, the client's number. What a
    client keeps between rounds is in Flower's context of its node.

    Args:
        source: a recipe with a section `[federated]`, which says all that the
            arguments below say; or `build() -> model`, a compiled Keras model.
        partition: of a model, `partition(node) -> data`: from the node's
            configuration a tuple `(x, y)`, or a dictionary with "train" and
            perhaps "validation", which hold such tuples.
        data_dir: folder of a recipe's data set.
        batch_size: of a model's training.
        optimizer_state: "keep" moments from round to round, or "reset" them; of
            a model's own optimizer "reset" begins its count of steps anew, too,
            which a learning rate schedule of its own follows.
        batch_norm: how BatchNormalization is shared: its moving averages
            "average"d over clients, "replace"d by those of the round's batches,
            or "local" to each client.
        update: send weights in "float32" or changes in "int8".
        mods: Flower's or your own, such as `flwr.clientapp.mod.LocalDpMod`;
            they see float32 weights.

    Raises:
        UserError: Flower is not installed, or the arguments do not fit.

    Example:
    >>> import keras, numpy as np, kbp
    >>> def build():
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> data = np.ones((8, 2)), np.ones((8, 1))
    >>> app = kbp.federated.client_app(build, lambda node: data)
    """
    learner: Learner
    if isinstance(source, Recipe):
        if not source.federated.clients:
            raise UserError("the recipe has no clients: set federated.clients")
        if partition is not None:
            raise UserError(
                "a recipe says who has which data: federated.partition"
            )
        section = source.federated
        learner = RecipeLearner(source, str(data_dir) if data_dir else None)
    else:
        check_one_of(("keep", "reset"), optimizer_state=optimizer_state)
        check_one_of(("replace", "average", "local"), batch_norm=batch_norm)
        check_one_of(("float32", "int8"), update=update)
        check_integer(batch_size=batch_size)
        if isinstance(source, keras.Model) or not callable(source):
            raise UserError(
                "Argument `build` must be a recipe or a function that returns "
                f"a compiled model; received {type(source).__name__}"
            )
        if not callable(partition):
            raise UserError(
                "Argument `partition` must be a function that gives a client "
                "its data: partition(node) -> (x, y); received "
                f"{type(partition).__name__}"
            )
        section = FederatedRecipe(
            optimizer_state=optimizer_state,
            batch_norm=batch_norm,
            update=update,
        )
        learner = ModelLearner(source, partition, batch_size)
    return app_of(learner, section, mods)


def app_of(
    learner: Learner, section: FederatedRecipe, mods: Sequence[Any] = ()
) -> ClientApp:
    """Return the app of a learner, see `client_app`."""
    client = Client(learner, section)
    app = ClientApp()
    app.train(mods=[client.compress, *mods])(client.train)
    app.evaluate()(client.evaluate)
    return app


class Client:
    """Answers the server's messages, for one node after another.

    Args:
        learner: gives the examples and the model.
        section: how clients train.
    """

    def __init__(self, learner: Learner, section: FederatedRecipe):
        self.learner, self.section = learner, section
        self.parts: dict[frozenset[Any], Part] = {}

    def train(self, message: Message, context: Context) -> Message:
        """Train for a round, and reply with the weights."""
        start = time.perf_counter()
        request, part, trained = self.read(message, context)
        state = State(context, request.stage)
        state.restore(trained, part.client)
        config, model = config_of(message), trained.model
        if weight := config.get("proximal-mu"):
            trained.hold_near(float(weight))
        if trained.rate:
            trained.rate.start(
                begin=request.done * trained.steps,
                first=float(model.optimizer.seen_steps),
                stride=trained.steps / part.steps,
            )
        history = model.fit(
            part.training(request.seed, request.done * part.steps),
            initial_epoch=request.done,
            epochs=request.done + request.epochs,
            steps_per_epoch=part.steps,
            shuffle=False,  # the batches are shuffled already
            verbose=0,
        )
        if self.section.batch_norm == "replace":
            before = arrays_of(message)
            steps = request.epochs * part.steps
            exchange = trained.exchange
            exchange.write(exchange.moments_of_round(before, steps))
        metrics = {k: float(v[-1]) for k, v in history.history.items()}
        arrays = trained.exchange.read()
        # One that has diverged begins the next round as it began this one.
        if _finite(arrays.values()) and _finite([*metrics.values()]):
            moments = self.section.optimizer_state == "keep"
            state.keep(trained, moments=moments)
        metrics |= {
            EXAMPLES: part.examples,
            "seconds": time.perf_counter() - start,
        }
        return Message(
            content(arrays, metrics, client=part.name), reply_to=message
        )

    def evaluate(self, message: Message, context: Context) -> Message:
        """Reply with the loss and metrics on the client's validation part."""
        start = time.perf_counter()
        _, part, trained = self.read(message, context)
        metrics: dict[str, float] = {EXAMPLES: part.validation_examples}
        if part.validation is not None:
            metrics |= trained.model.evaluate(
                part.validation, verbose=0, return_dict=True
            )
        metrics["seconds"] = time.perf_counter() - start
        return Message(content(metrics=metrics), reply_to=message)

    def read(
        self, message: Message, context: Context
    ) -> tuple[Request, Part, Trained]:
        """Return what is asked, the examples, and the model as it is now."""
        request, part = Request.of(message), self.part(context)
        trained = self.learner.trained(request, part)
        trained.exchange.write(arrays_of(message))
        if self.section.batch_norm == "local":
            trained.exchange.write(State(context, request.stage).read(NORMS))
        return request, part, trained

    def part(self, context: Context) -> Part:
        """Return the examples of a node, which stay the same."""
        node = context.node_config
        key = frozenset(node.items())
        if key not in self.parts:
            self.parts[key] = self.learner.part(node)
        return self.parts[key]

    def compress(
        self,
        message: Message,
        context: Context,
        call_next: Callable[[Message, Context], Message],
    ) -> Message:
        """Send changes in eight bits, if that is asked for: a mod of Flower's.

        It is the outermost, so that other mods see weights.
        """
        reply = call_next(message, context)
        if self.section.update == "float32" or reply.has_error():
            return reply
        request, part = Request.of(message), self.part(context)
        # A level of the largest variance may be more than the least one.
        exact = self.learner.trained(request, part).exchange.statistics
        before, after = arrays_of(message), arrays_of(reply)
        state = State(context, request.stage)
        sent, left = deltas.encode(
            {k: after[k] - before[k] for k in before if k not in exact},
            state.read(RESIDUAL),
        )
        if _finite(left.values()):
            state.write(RESIDUAL, left)
        sent |= {name: after[name] for name in before if name in exact}
        reply.content.array_records[ARRAYS] = as_record(sent)
        return reply


class State:
    """What a client keeps from round to round, in its node's context.

    Args:
        context: of the node.
        stage: of the training.
    """

    def __init__(self, context: Context, stage: str):
        self.records, self.stage = context.state, stage

    def read(self, name: str) -> Arrays:
        """Return arrays that were kept; none at first."""
        record = self.records.array_records.get(f"{self.stage}.{name}")
        return as_arrays(record) if record is not None else {}

    def write(self, name: str, arrays: Arrays) -> None:
        """Keep arrays."""
        self.records[f"{self.stage}.{name}"] = as_record(arrays)

    def restore(self, trained: Trained, client: int) -> None:
        """Give a model the optimizer and the random numbers of a client."""
        trained.restore_optimizer(self.read(OPTIMIZER) or trained.fresh)
        seeds = self.read(SEEDS)
        for n, variable in enumerate(seed_states(trained.model)):
            # At first another one for each client, of which 0 has the model's.
            first = trained.seeds[n] + np.array([client, 0], "uint32")
            variable.assign(seeds.get(str(n), first))

    def keep(self, trained: Trained, *, moments: bool) -> None:
        """Keep what `restore` gives back, with the optimizer's or without."""
        if moments:
            self.write(OPTIMIZER, trained.optimizer_state())
        self.write(NORMS, trained.exchange.read(trained.exchange.of_batch_norm))
        seeds = enumerate(seed_states(trained.model))
        self.write(SEEDS, {str(n): v.numpy() for n, v in seeds})


def _finite(values: Iterable[Any]) -> bool:
    return all(np.isfinite(value).all() for value in values)
