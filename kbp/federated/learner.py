"""What a client trains: its examples, and a model that is compiled."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kbp.data import Selected, evaluation_batches
from kbp.errors import UserError
from kbp.federated.exchange import Arrays, Exchange
from kbp.federated.rate import ClientRate
from kbp.federated.records import Request
from kbp.federated.sites.place import Place, check_same_kind, task_at
from kbp.recipes.recipe import Recipe
from kbp.tasks import Task
from kbp.training.checkpoint import seed_states
from kbp.training.optimizers import make_optimizer

# Of a node's configuration: a client's number, as Flower names it, and where
# its data set lies.
CLIENT, DATA_DIR = "partition-id", "data-dir"


@dataclass(frozen=True)
class Part:
    """The examples of one client.

    Attributes:
        client: its number.
        name: of it, as the partition has it.
        examples: how many it trains on.
        steps: of an epoch.
        training: `training(seed, start_step) -> endless batches`.
        validation: batches, or `None` without any.
        validation_examples: how many these are.
        task: the recipe's, of the data set that the client has.
    """

    client: int
    name: str
    examples: int
    steps: int
    training: Callable[[int, int], Any]
    validation: tf.data.Dataset | None
    validation_examples: int
    task: Task | None = None


@dataclass
class Trained:
    """A compiled model that one client after another trains.

    Attributes:
        model: the model.
        steps: of an epoch, of the client that its schedule is made for.
        rate: the schedule; `None` where the model has its own.
    """

    model: keras.Model
    steps: int = 1
    rate: ClientRate | None = None

    def __post_init__(self) -> None:
        self.exchange = Exchange(self.model)
        optimizer = self.model.optimizer
        optimizer.build(self.model.trainable_variables)
        self.fresh = self.optimizer_state()
        self.seeds = [v.numpy() for v in seed_states(self.model)]
        self.proximal: Proximal | None = None

    def optimizer_state(self) -> Arrays:
        """Return the values of the optimizer, by their places."""
        found = self.model.optimizer.variables
        return {str(n): v.numpy() for n, v in enumerate(found)}

    def restore_optimizer(self, state: Mapping[str, np.ndarray]) -> None:
        """Set the values of the optimizer."""
        for n, variable in enumerate(self.model.optimizer.variables):
            variable.assign(state[str(n)])

    def hold_near(self, weight: float) -> None:
        """Add `weight / 2 ||w - w_0||^2` to the loss, with the weights now."""
        if self.proximal is None:
            self.proximal = Proximal(self.model)
        self.proximal.hold(weight)


class Proximal:
    """What holds a client's weights near those that it began with.

    Args:
        model: a compiled model, whose loss gets a term.

    Reference:
        Li et al., Federated Optimization in Heterogeneous Networks, 2020.
    """

    def __init__(self, model: keras.Model):
        self.variables = model.trainable_variables
        self.before = [
            keras.Variable(v.numpy(), trainable=False, name="before")
            for v in self.variables
        ]
        self.weight = keras.Variable(0.0, trainable=False, name="weight")
        self.own, model.compute_loss = model.compute_loss, self.compute_loss
        model.train_function = None

    def hold(self, weight: float) -> None:
        """Hold the weights that are there now."""
        self.weight.assign(weight)
        for before, variable in zip(self.before, self.variables, strict=True):
            before.assign(variable)

    def compute_loss(
        self, *args: Any, training: bool = True, **kwargs: Any
    ) -> Any:
        """Return the model's loss, and the term where it trains."""
        loss = self.own(*args, training=training, **kwargs)
        if not training:
            return loss
        pairs = zip(self.variables, self.before, strict=True)
        square = sum(keras.ops.sum(keras.ops.square(v - b)) for v, b in pairs)
        return loss + 0.5 * self.weight * square


class Learner(ABC):
    """Gives clients their examples and a model to train."""

    @abstractmethod
    def part(self, node: Mapping[str, Any]) -> Part:
        """Return a client's examples, by its node's configuration.

        Raises:
            UserError: the node is none of the clients, or has no example.
        """

    @abstractmethod
    def trained(self, request: Request, part: Part) -> Trained:
        """Return the model that a round trains, the same for all clients."""


class RecipeLearner(Learner):
    """Clients of a recipe, who share its data set or have their own.

    Args:
        recipe: with a section `[federated]`.
        data_dir: folder of the data set, of nodes whose configuration has no
            `data-dir`.
        task: the recipe's, if it is known.
    """

    def __init__(
        self,
        recipe: Recipe,
        data_dir: str | None = None,
        task: Task | None = None,
    ):
        self.recipe, self.data_dir = recipe, data_dir
        self.given = task
        self.places: dict[str | None, Place] = {}
        self.known: tuple[tuple[str, str, Task], Trained] | None = None

    def place(self, node: Mapping[str, Any]) -> Place:
        """Return the data set that a node has, by its configuration.

        Raises:
            UserError: each has its own, and it is not said where.
        """
        if self.recipe.federated.partition == "own" and not node.get(DATA_DIR):
            raise UserError(
                'with federated.partition = "own" each client is a machine '
                f"whose node's configuration holds {DATA_DIR}, where its own "
                "data set lies; see kbp.federated.write_app"
            )
        data_dir = node.get(DATA_DIR, self.data_dir)
        if data_dir not in self.places:
            task = self.given or task_at(self.recipe, data_dir)
            self.places[data_dir] = Place(self.recipe, task)
        return self.places[data_dir]

    def part(self, node: Mapping[str, Any]) -> Part:
        client = number_of(node, self.recipe.federated.clients)
        place = self.place(node)
        task, splits = place.task, place.task.splits
        chosen = place.shares.parts[client]
        train = Selected(splits.train, chosen["train"])
        size = min(task.batch_size, len(train))

        def training(seed: int, start_step: int) -> Any:
            task.drawn, whole = train, task.batch_size
            task.batch_size = size
            try:
                # A stage's seed is for its batches, and the next stage's odd.
                return task.training_batches(
                    seed=seed + 2 * client, start_step=start_step
                )
            finally:
                task.drawn, task.batch_size = None, whole

        own = Selected(splits.validation, chosen["validation"])
        return Part(
            client,
            place.shares.names[client],
            len(train),
            len(train) // size,
            training,
            evaluation_batches(own, size).map(task.lay_out)
            if len(own)
            else None,
            len(own),
            task,
        )

    def trained(self, request: Request, part: Part) -> Trained:
        task: Any = part.task
        key = request.stage, request.architecture, task
        if self.known is None or self.known[0] != key:
            check_same_kind(task, request.files)
            known = json.loads(request.architecture)
            model = keras.saving.deserialize_keras_object(known["model"])
            # By their order values are told apart, see `Exchange`.
            if [layer.name for layer in model.layers] != known["layers"]:
                raise UserError("the model's layers have come in another order")
            pairs = zip(seed_states(model), known["seeds"], strict=True)
            for variable, seed in pairs:
                variable.assign(seed)
            section = self.recipe.optimizer
            optimizer, rate = client_optimizer(
                section, model, request, part.steps
            )
            model.compile(optimizer, **task.compile_options())
            self.known = key, Trained(model, part.steps, rate)
        return self.known[1]


def client_optimizer(
    section: Any, model: keras.Model, request: Request, steps: int
) -> tuple[keras.optimizers.Optimizer, ClientRate]:
    """Return the optimizer of a stage, and the schedule that clients start.

    Args:
        section: `[optimizer]` of a recipe.
        model: that it trains.
        request: of the round.
        steps: of a client's epoch.
    """
    rates: list[ClientRate] = []

    def wrapped(schedule: Any) -> ClientRate:
        rates.append(ClientRate(schedule))
        return rates[0]

    optimizer = make_optimizer(
        section,
        model,
        request.learning_rate,
        steps=request.total * steps,
        epoch_steps=steps,
        wrapped=wrapped,
    )
    return optimizer, rates[0]


class ModelLearner(Learner):
    """Clients who train a compiled model on arrays of their own.

    Args:
        build: `build() -> model`, compiled, of the same weights everywhere.
        partition: `partition(node) -> data`, of a node's configuration: a
            tuple `(x, y)` to train on, or a dictionary with "train" and
            perhaps "validation".
        batch_size: of the training.
    """

    def __init__(
        self,
        build: Callable[[], keras.Model],
        partition: Callable[[Mapping[str, Any]], Any],
        batch_size: int,
    ):
        self.build, self.partition = build, partition
        self.batch_size = batch_size
        self.known: Trained | None = None

    def part(self, node: Mapping[str, Any]) -> Part:
        client = number_of(node)
        data = self.partition(node)
        if not isinstance(data, Mapping):
            data = {"train": data}
        if not (isinstance(data["train"], tuple) and len(data["train"]) == 2):
            raise UserError(
                f"client {client}: the partition gives "
                f"{type(data['train']).__name__}, which must be (x, y)"
            )
        x, y = data["train"]
        if not len(x):
            raise UserError(f"client {client} has no example")
        size = min(self.batch_size, len(x))

        def training(seed: int, start_step: int) -> Any:
            epoch, inside = divmod(start_step, len(x) // size)
            found = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(
                len(x),
                seed=seed + 1000 * client + epoch,
                reshuffle_each_iteration=True,
            )
            return found.batch(size, drop_remainder=True).repeat().skip(inside)

        own = data.get("validation")
        return Part(
            client,
            f"client {client}",
            len(x),
            len(x) // size,
            training,
            tf.data.Dataset.from_tensor_slices(own).batch(size)
            if own is not None and len(own[0])
            else None,
            len(own[0]) if own is not None else 0,
        )

    def trained(self, request: Request, part: Part) -> Trained:
        if self.known is None:
            self.known = Trained(self.build())
        return self.known


def number_of(node: Mapping[str, Any], clients: int | None = None) -> int:
    """Return the number of a client, from its node's configuration.

    Raises:
        UserError: there is none, or there are fewer clients.
    """
    found = node.get(CLIENT)
    most = math.inf if clients is None else clients
    whole = isinstance(found, int) and not isinstance(found, bool)
    if not whole or not 0 <= int(found or 0) < most:
        last = f" to {clients - 1}" if clients else ""
        raise UserError(
            f"a node's configuration must hold {CLIENT}=N, its number from 0"
            f"{last}; received {found!r}"
        )
    return int(found or 0)
