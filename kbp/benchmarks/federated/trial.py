"""Trials of the race: the float stage of a recipe, trained by clients."""

import csv
import io
import re
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from kbp._utils.files import temporary_folder
from kbp.benchmarks.federated.cases import CASES
from kbp.data.datasets.digits import load
from kbp.errors import UserError
from kbp.federated.table import CLIENTS_FILE
from kbp.recipes import Recipe
from kbp.tasks import make_task
from kbp.training.measuring import predicted
from kbp.training.pipeline import Pipeline
from kbp.training.trainer import Trainer as AloneTrainer
from kbp.training.workdir import WorkDir

_INFINITE = "no client's update counts.*not finite"


@dataclass(frozen=True)
class Protocol:
    """What all trials have in common.

    Attributes:
        seeds: of each case.
        rounds: of one epoch of each client; epochs, of one who has all.
    """

    seeds: int = 3
    rounds: int = 20

    def recipe(self) -> Recipe:
        """Return the recipe that cases change."""
        return Recipe.parse(
            {
                "model": {"architecture": "pyramid_bpnet", "size": "small"},
                "data": {"name": "digits", "image_size": 16},
                "optimizer": {"learning_rate": 3e-3},
                "training": {"epochs": self.rounds},
                "quantization": {"enabled": False},
            }
        )


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        case: its name.
        seed: of the recipe.
        split: what it is judged on.
    """

    case: str
    seed: int
    split: str = "test"


class Trainer:
    """Runs trials.

    Args:
        protocol: the settings that they share.
        data_dir: is not used, as the digits come with a package.
    """

    def __init__(self, protocol: Protocol, data_dir: str | Path | None):
        self.protocol = protocol
        load()  # a missing package shows at once

    def run(self, trial: Trial) -> dict:
        """Train once.

        Returns:
            The trial; `score`, the accuracy on the test images, or `failed`,
            why there is no model; `seconds` of the training, `clients_seconds`
            of the clients' own training, validation and messages; `bytes_up`,
            all that came from clients; `left_out`, how often one did not count.
        """
        case = CASES[trial.case]
        recipe = self.protocol.recipe().with_settings(
            [*case.settings, f"training.seed={trial.seed}"]
        )
        with temporary_folder() as folder:
            work = WorkDir(folder / "run", recipe, resume=False)
            pipeline = Pipeline(
                recipe,
                work,
                partial(make_task, recipe, None),
                Console(file=io.StringIO()),
                _trainer(recipe, case.bad),
            )
            with work:
                figures = _score(pipeline, trial.split, case.bad)
            if local := getattr(pipeline.trainer, "local", None):
                figures["clients_seconds"] = local.seconds
            return asdict(trial) | figures | _of_clients(work)


def _score(pipeline: Pipeline, split: str, bad: int) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        model = pipeline.fit()
    except UserError as error:
        # Poison leads there again; what else went wrong, as a full disk, may
        # not happen twice, and is no result.
        if not (bad and re.search(_INFINITE, str(error))):
            raise
        return {"failed": str(error), "seconds": time.perf_counter() - start}
    seconds, task = time.perf_counter() - start, pipeline.task
    score = task.score(predicted(model, task), split)
    return {"score": score, "seconds": seconds}


def _trainer(recipe: Recipe, bad: int) -> Any:
    """Return what trains, with clients of whom some are bad."""
    if not recipe.federated.clients:
        return AloneTrainer
    from kbp.federated.trainer import FederatedTrainer

    return partial(FederatedTrainer, mods=[partial(_poison, bad)])


def _poison(bad: int, message: Any, context: Any, call_next: Any) -> Any:
    """Send the first clients' trained weights times -10: a mod of Flower's.

    A negative variance would be found by every server.
    """
    from kbp.federated.records import ARRAYS, arrays_of, as_record

    reply = call_next(message, context)
    if context.node_config["partition-id"] < bad:
        changed = {
            name: array if "moving_" in name else -10 * array
            for name, array in arrays_of(reply).items()
        }
        reply.content.array_records[ARRAYS] = as_record(changed)
    return reply


def _of_clients(work: WorkDir) -> dict[str, Any]:
    """Return what the files of a run say of its clients, if it has any."""
    path = work.path / CLIENTS_FILE
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        rows = [*csv.DictReader(file)]
    sent = work.run["bytes"]["train"].values()
    return {
        "bytes_up": sum(up for _, up in sent),
        "left_out": sum(bool(row["left_out"]) for row in rows),
    }
