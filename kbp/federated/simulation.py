"""Rounds of a compiled Keras model, with clients in this process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from kbp._utils.arguments import check_integer
from kbp.errors import UserError
from kbp.federated.client import client_app
from kbp.federated.flower import Grid, Strategy
from kbp.federated.local import LocalGrid
from kbp.federated.rounds import Observer, Plan, Round, Rounds
from kbp.federated.strategy import make_strategy
from kbp.recipes.federated import FederatedRecipe
from kbp.training.checkpoint import save


@dataclass
class Federated(Observer):
    """What rounds have come to.

    Attributes:
        model: with the last aggregate.
        rounds: of each the metrics, the clients and the bytes.
        path: where the model is after each round, if it is written.

    Example:
    >>> import keras, kbp
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> kbp.federated.Federated(model).rounds
    []
    """

    model: keras.Model
    rounds: list[Round] = field(default_factory=list)
    path: Path | None = None

    def end(self, done: Round) -> None:
        self.rounds.append(done)
        if self.path:
            save(self.model, self.path)


def simulate(
    build: Callable[[], keras.Model],
    partition: Callable[[Mapping[str, Any]], Any],
    *,
    clients: int,
    rounds: int,
    strategy: str | Strategy = "fedavg",
    local_epochs: int = 1,
    longest_update: float = 10.0,
    seed: int = 0,
    batch_size: int = 32,
    optimizer_state: str = "keep",
    batch_norm: str = "replace",
    update: str = "float32",
    mods: Sequence[Any] = (),
) -> Federated:
    """Train a compiled model by clients in this process.

    Args:
        build: `build() -> model`, compiled.
        partition: see `client_app`; nodes are `{"partition-id": 0}` and so on.
        clients: how many there are.
        rounds: how many there are.
        strategy: the name of one, see `[federated]`, or one of Flower's.
        local_epochs: that a client trains for in a round.
        longest_update: longer ones than so many times the median are left out;
            0 for none.
        seed: of the draws of clients.
        batch_size: see `client_app`, also for the next.
        optimizer_state: "keep" or "reset", see there what that means.
        batch_norm: "replace", "average" or "local".
        update: "float32" or "int8".
        mods: of Flower's clients.

    Returns:
        The model and what came of each round.

    Raises:
        UserError: Flower is not installed, or in a round no client's update
            counts; the message has each client's reason.
        ValueError: an argument is out of range.

    Example:
    >>> import keras, numpy as np, kbp
    >>> def build():
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    ...     model.compile(keras.optimizers.SGD(0.1), "mse")
    ...     return model
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 2)).astype("float32")
    >>> parts = np.split(x, 3)
    >>> def partition(node):
    ...     part = parts[node["partition-id"]]
    ...     return part, part.sum(axis=1, keepdims=True)
    >>> found = kbp.federated.simulate(build, partition, clients=3, rounds=20)
    >>> found.model.layers[0].kernel.numpy().round(1).ravel().tolist()
    [1.0, 1.0]
    """
    check_integer(clients=clients, rounds=rounds, local_epochs=local_epochs)
    app = client_app(
        build,
        partition,
        batch_size=batch_size,
        optimizer_state=optimizer_state,
        batch_norm=batch_norm,
        update=update,
        mods=mods,
    )
    grid = LocalGrid(app, clients)
    return run_model(
        build,
        grid,
        clients=clients,
        rounds=rounds,
        strategy=strategy,
        local_epochs=local_epochs,
        longest_update=longest_update,
        batch_norm=batch_norm,
        seed=seed,
    )


def run_model(
    build: Callable[[], keras.Model],
    grid: Grid,
    *,
    clients: int,
    rounds: int,
    strategy: str | Strategy,
    local_epochs: int,
    longest_update: float,
    seed: int,
    batch_norm: str = "replace",
    timeout: float = 3600.0,
    path: Path | None = None,
) -> Federated:
    """Run the rounds of a model on a grid, see `simulate`.

    Each round's model is written to `path`, if there is one.
    """
    if isinstance(strategy, str):
        section = FederatedRecipe(clients=clients, strategy=strategy)
        strategy = make_strategy(section)
    model = build()
    if not model.compiled or not model.built:
        raise UserError(
            "Argument `build` must return a compiled model whose input shape "
            "is known"
        )
    # A saved model says all of its optimizer, which clients have used.
    model.optimizer.build(model.trainable_variables)
    federated = Federated(model, path=path)
    plan = Plan(
        "train", "", rounds * local_epochs, local_epochs, 0.0, seed=seed
    )
    running = Rounds(
        strategy,
        model,
        plan,
        federated,
        longest_update=longest_update,
        batch_norm=batch_norm,
        timeout=timeout,
        clients=clients,
        nodes={n: f"client {n - 1}" for n in getattr(grid, "contexts", ())},
    )
    running.run(grid)
    return federated
