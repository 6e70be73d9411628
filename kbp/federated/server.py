"""The server's side: a Flower `ServerApp` that runs a recipe or a model."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras

from kbp._utils.arguments import check_integer
from kbp._utils.files import check_place
from kbp.errors import UserError
from kbp.federated.flower import Context, Grid, ServerApp, Strategy
from kbp.federated.simulation import run_model
from kbp.federated.sites.place import task_at
from kbp.federated.trainer import FederatedTrainer
from kbp.recipes.recipe import Recipe
from kbp.training.runs import run_task
from kbp.training.workdir import read_run


def server_app(
    source: Recipe | Callable[[], keras.Model],
    path: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
    clients: int = 2,
    rounds: int = 10,
    strategy: str | Strategy = "fedavg",
    local_epochs: int = 1,
    longest_update: float = 10.0,
    timeout: float = 3600.0,
    seed: int = 0,
) -> ServerApp:
    """Return a Flower `ServerApp` that trains a recipe or a model.

    A recipe's is a whole run, as of `kbp.training.run`: its masks close, it is
    quantized in rounds, exported, verified and reported. A server that died
    goes on from its last round when it is started again.

    Args:
        source: a recipe with a section `[federated]`, which says all that the
            arguments after `data_dir` say; or `build() -> model`, a compiled
            Keras model.
        path: the run's folder; of a model a `.keras` file to write. Of a recipe
            it may be left to `workdir` of Flower's run configuration.
        data_dir: folder of a recipe's data set, on whose validation and test
            split the server judges the model; by default `data-dir` of Flower's
            run configuration.
        clients: how many must be there.
        rounds: how many there are.
        strategy: the name of one, see `[federated]`, or one of Flower's.
        local_epochs: that a client trains for in a round.
        longest_update: see `simulate`.
        timeout: seconds that clients have to answer.
        seed: of the draws of clients.

    Raises:
        UserError: Flower is not installed, or the recipe has no clients.

    Example:
    >>> import kbp
    >>> settings = ["federated.clients=2", "training.epochs=1"]
    >>> recipe = kbp.recipes.Recipe.parse({}).with_settings(settings)
    >>> app = kbp.federated.server_app(recipe, "runs/together")
    """
    app = ServerApp()
    if isinstance(source, Recipe):
        if not source.federated.clients:
            raise UserError("the recipe has no clients: set federated.clients")

        def main(grid: Grid, context: Context) -> None:
            config = context.run_config
            workdir = path or config.get("workdir")
            if not workdir:
                raise UserError(
                    "a server needs a folder for its run: "
                    "server_app(recipe, path), or `workdir` of Flower's run "
                    "configuration"
                )
            data = data_dir or config.get("data-dir") or None
            run_recipe(source, str(workdir), grid, data)

    else:
        if path is None or Path(path).suffix != ".keras":
            raise UserError(
                "Argument `path` must be the `.keras` file to write; received "
                f"{path}"
            )
        check_integer(clients=clients, rounds=rounds, local_epochs=local_epochs)
        place = Path(path)
        check_place(place)

        def main(grid: Grid, context: Context) -> None:
            run_model(
                source,
                grid,
                clients=clients,
                rounds=rounds,
                strategy=strategy,
                local_epochs=local_epochs,
                longest_update=longest_update,
                timeout=timeout,
                seed=seed,
                path=place,
            )

    app.main()(main)
    return app


def run_recipe(
    recipe: Recipe,
    workdir: str | Path,
    grid: Grid,
    data_dir: Any = None,
    console: Any = None,
) -> None:
    """Run a recipe whose clients are elsewhere, or go on with it.

    Args:
        recipe: with a section `[federated]`.
        workdir: folder of the run.
        grid: Flower's connection to the clients.
        data_dir: folder of the data set.
        console: where progress goes.
    """
    from rich.console import Console

    folder = Path(workdir)
    run_task(
        recipe,
        partial(task_at, recipe, data_dir),
        folder,
        resume=read_run(folder) is not None,
        console=console or Console(),
        trainer=partial(FederatedTrainer, grid=grid),
    )
