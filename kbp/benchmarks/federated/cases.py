"""What is compared: settings of a recipe, and how many clients are bad."""

from dataclasses import dataclass

_MANY = ("federated.clients=10",)
_DIFFERENT = (
    *_MANY,
    "federated.partition=dirichlet",
    "federated.alpha=0.3",
)
_TRUSTING = (*_MANY, "federated.longest_update=0")


@dataclass(frozen=True)
class Case:
    """One way to train.

    Attributes:
        title: in tables.
        settings: of the recipe, as `kbp train --set` takes them.
        bad: how many clients send their trained weights times -10.
    """

    title: str
    settings: tuple[str, ...] = ()
    bad: int = 0


CENTRAL = "central"  # what the others are compared with
CASES = {
    CENTRAL: Case("one, with all the data"),
    "iid": Case("10 clients, alike", _MANY),
    "iid_int8": Case(
        "10 clients, alike, updates in int8",
        (*_MANY, "federated.update=int8"),
    ),
    "dirichlet": Case("10 clients, Dirichlet 0.3", _DIFFERENT),
    "dirichlet_int8": Case(
        "10 clients, Dirichlet 0.3, updates in int8",
        (*_DIFFERENT, "federated.update=int8"),
    ),
    "dirichlet_average": Case(
        "10 clients, Dirichlet 0.3, averaged statistics",
        (*_DIFFERENT, "federated.batch_norm=average"),
    ),
    "dirichlet_fedprox": Case(
        "10 clients, Dirichlet 0.3, FedProx",
        (*_DIFFERENT, "federated.strategy=fedprox"),
    ),
    "poisoned": Case("3 of 10 poisoned, left out by length", _MANY, 3),
    "poisoned_mean": Case("3 of 10 poisoned, plain mean", _TRUSTING, 3),
    "poisoned_median": Case(
        "3 of 10 poisoned, median",
        (*_TRUSTING, "federated.strategy=fedmedian"),
        3,
    ),
    "poisoned_multikrum": Case(
        "3 of 10 poisoned, Multi-Krum",
        (
            *_TRUSTING,
            "federated.strategy=multikrum",
            "federated.bad_clients=3",
            "federated.selected=7",
        ),
        3,
    ),
}
