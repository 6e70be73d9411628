"""The section `[federated]`, as a frozen dataclass."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kbp._utils.config import check_unused, choice, number
from kbp.errors import UserError

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe

# Keys that count for some strategies, and for some partitions.
OF_STRATEGIES = (
    *("proximal_mu", "server_learning_rate", "server_momentum"),
    *("bad_clients", "selected", "trimmed"),
)
OF_PARTITIONS = ("alpha", "pattern", "column", "list_file")


@dataclass(frozen=True)
class FederatedRecipe:
    """Section `[federated]`: training by clients who keep their data.

    With 0 `clients` there are none. Each has what `partition` gives it of the
    data set: "iid", "dirichlet" with `alpha`, or by the groups that a
    `pattern` finds in names, a `column` of a table or a `list_file` holds; by
    "own" each is a machine with a data set of its own. In a round a share, the
    `fraction`, of them trains for `local_epochs`; the epochs of a stage over
    `local_epochs` are its rounds. What comes back is aggregated by `strategy`,
    one of Flower's. Clients keep the state of their optimizer from round to
    round or `reset` it. The moving averages of BatchNormalization are those of
    a round's batches, over all clients, with "replace", which takes few steps;
    those that training alone would have with "average"; and each client has its
    own with "local". As `update` they send weights or changes in "int8".
    Updates longer than `longest_update` times their median are left out (0:
    none), and so are those that take more than `timeout` seconds. With a
    `clipping_norm` the server clips updates and adds Gaussian noise of
    `noise_multiplier`, for differential privacy.
    """

    clients: int = number(0, 0, 100_000)
    partition: str = "iid"
    alpha: float | None = number(None, above=0, high=1e6)
    pattern: str | None = None
    column: str | None = None
    list_file: str | None = None
    local_epochs: int = number(1, 1, 1_000_000)
    fraction: float = number(1.0, above=0, high=1)
    strategy: str = "fedavg"
    proximal_mu: float | None = number(None, above=0, high=1e6)
    server_learning_rate: float | None = number(None, above=0, high=1e6)
    server_momentum: float | None = number(None, 0, below=1)
    bad_clients: int | None = number(None, 0, 100_000)
    selected: int | None = number(None, 1, 100_000)
    trimmed: float | None = number(None, 0, below=0.5)
    optimizer_state: str = choice("keep", ("keep", "reset"))
    batch_norm: str = choice("replace", ("replace", "average", "local"))
    update: str = choice("float32", ("float32", "int8"))
    longest_update: float = number(10.0, 0, 1e12)
    timeout: float = number(3600.0, above=0, high=1e9)
    clipping_norm: float | None = number(None, above=0, high=1e12)
    noise_multiplier: float | None = number(None, 0, 1e6)

    def shared_out(self) -> str:
        """Say which partition there is, in a sentence."""
        alpha = "" if self.alpha is None else f", alpha {self.alpha:g}"
        return f"Partition: {self.partition}{alpha}."

    def given(self, make: Callable[..., Any], keys: tuple[str, ...]) -> Any:
        """Return those of some keys that a maker takes and that are given."""
        taken = inspect.signature(make).parameters
        values = {key: getattr(self, key) for key in keys if key in taken}
        return {key: x for key, x in values.items() if x is not None}


def check_federated(recipe: "Recipe") -> None:
    """Raise a UserError for keys that have no effect or do not fit.

    Args:
        recipe: whole.
    """
    # Partitions need TensorFlow, which a misspelled key does not wait for.
    from kbp.data.partitions.registry import PARTITIONS
    from kbp.federated.strategies.registry import STRATEGIES

    section, training = recipe.federated, recipe.training
    if not section.clients:
        reason = "federated.clients is 0"
        check_unused("federated", section, reason, *vars(section))
        return
    for kind, make, keys in (
        ("strategy", STRATEGIES[section.strategy], OF_STRATEGIES),
        ("partition", PARTITIONS[section.partition], OF_PARTITIONS),
    ):
        taken = [
            key for key in keys if key in inspect.signature(make).parameters
        ]
        for key in keys:
            if getattr(section, key) is not None and key not in taken:
                other = f", whose keys are {', '.join(taken)}" if taken else ""
                raise UserError(
                    f"federated.{key} has no effect: federated.{kind} is "
                    f"{getattr(section, kind)!r}{other}"
                )
    for key in ("pattern", "column", "list_file"):
        needed = {"listed": "list_file"}.get(
            section.partition, section.partition
        )
        if key == needed and not getattr(section, key):
            raise UserError(
                f"federated.partition = {section.partition!r} needs "
                f"federated.{key}"
            )
    if 0 < section.longest_update < 1:
        raise UserError(
            "federated.longest_update must be 1 or more, or 0 for none: it is "
            "in medians of all updates; received "
            f"{section.longest_update:g}"
        )
    if section.noise_multiplier and section.clipping_norm is None:
        raise UserError(
            "federated.noise_multiplier needs federated.clipping_norm, by "
            "which the noise is measured"
        )
    if not training.epochs:
        raise UserError(
            "federated.clients has no effect with training.epochs = 0, after "
            "which nobody has trained"
        )
    _check_alone(recipe)


def _check_alone(recipe: "Recipe") -> None:
    """Refuse what is not done by rounds."""
    training = recipe.training
    if training.strategy not in ("auto", "one_device"):
        raise UserError(
            f"training.strategy = {training.strategy!r} does not go with "
            'federated.clients: each client trains on one device; set "auto"'
        )
    if training.precision != "float32":
        raise UserError(
            f"training.precision = {training.precision!r} does not go with "
            'federated.clients: updates are float32; set "float32"'
        )
    if recipe.optimizer.schedule == "plateau":
        raise UserError(
            'optimizer.schedule = "plateau" does not go with '
            "federated.clients, who do not see the server's loss"
        )
    if recipe.optimizer.gradient_accumulation_steps > 1:
        raise UserError(
            "optimizer.gradient_accumulation_steps does not go with "
            "federated.clients: a round may end before enough steps are; set 1"
        )
    if recipe.ensemble.members and recipe.ensemble.bootstrap:
        raise UserError(
            "ensemble.bootstrap does not go with federated.clients, whose "
            "examples are their own; set ensemble.bootstrap = false"
        )
    if training.steps_per_execution > 1:
        raise UserError(
            "training.steps_per_execution does not go with federated.clients, "
            "who have different numbers of steps; set 1"
        )
