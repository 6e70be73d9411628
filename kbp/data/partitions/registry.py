"""Ways to share the examples of a data set among clients, by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kbp._utils.registry import Registry
from kbp.data.splitting import SPLITS, some
from kbp.errors import UserError

# `partition(split, clients, seed, **keys) -> the client of each example`
Partition = Callable[..., np.ndarray]
EVERYONE = -1  # in place of a client: all of them have the example
PARTITIONS: Registry[Partition] = Registry(
    "federated.partition", "kbp.data.partitions"
)


@dataclass(frozen=True)
class Split:
    """One split of a data set, as a partition sees it.

    Attributes:
        name: of the split.
        examples: of the split.
        train: examples of the training split.
        splits: all of the data set.
    """

    name: str
    examples: Any
    train: Any
    splits: Any

    @property
    def classes(self) -> np.ndarray | None:
        """The class of each example, `None` where there is no one class."""
        labels = getattr(self.examples, "labels", None)
        if labels is None or not getattr(self.splits, "class_names", ()):
            return None
        return np.asarray(labels) if np.ndim(labels) == 1 else None


def register_partition(name: str) -> Callable[[Partition], Partition]:
    """Register a way to share examples under the name recipes use.

    Args:
        name: `federated.partition` of a recipe.

    Returns:
        A decorator for `partition(split, clients, seed, **keys)`, which
        returns the client of each example of a `Split`, `(examples,)`: numbers
        from 0 or `EVERYONE`, or names, of which there must be as many as
        clients. Its keyword arguments are keys of `[federated]`.

    Raises:
        UserError: another partition has that name.

    Example:
    >>> import numpy as np
    >>> from kbp.data.partitions.registry import PARTITIONS, Split
    >>> split = Split("train", range(6), range(6), None)
    >>> np.bincount(PARTITIONS["iid"](split, 3, 0)).tolist()
    [2, 2, 2]
    """

    def register(partition: Partition) -> Partition:
        PARTITIONS.add(name, partition)
        return partition

    return register


@dataclass(frozen=True)
class Shares:
    """Who holds which examples of a data set.

    Attributes:
        names: of the clients.
        parts: of each client, the indices of its examples in each split.
    """

    names: list[str]
    parts: list[dict[str, np.ndarray]]


def shared(
    splits: Any,
    clients: int,
    *,
    name: str,
    seed: int,
    keys: Mapping[str, Any],
) -> Shares:
    """Return who holds which examples.

    Args:
        splits: of the data set.
        clients: how many there are.
        name: of the partition.
        seed: of its draws.
        keys: keyword arguments of the partition.

    Raises:
        UserError: a client has no training example, or the partition does not
            fit the data.
    """
    owners = dict.fromkeys(SPLITS, np.zeros(0, int))
    for split in SPLITS:
        examples = getattr(splits, split)
        about = Split(split, examples, splits.train, splits)
        if len(examples):
            owners[split] = PARTITIONS[name](about, clients, seed, **keys)
    names = [f"client {n}" for n in range(clients)]
    if owners["train"].dtype.kind == "U":
        names = _names(owners, clients, name)
        places = {group: n for n, group in enumerate(names)}
        owners = {
            split: np.array([places[x] for x in found.tolist()], int)
            for split, found in owners.items()
        }
    parts = [
        {
            split: np.flatnonzero((found == n) | (found == EVERYONE))
            for split, found in owners.items()
        }
        for n in range(clients)
    ]
    check_not_empty([len(part["train"]) for part in parts], name)
    return Shares(names, parts)


def _names(
    owners: Mapping[str, np.ndarray], clients: int, name: str
) -> list[str]:
    """Return the clients' names in order, numbers by their size.

    Raises:
        UserError: there are more or fewer than clients, or a split has one that
            no training example has.
    """
    key = f"federated.partition = {name!r}"
    found = {*owners["train"].tolist()}
    by_size = all(x.isdecimal() for x in found)
    names = sorted(found, key=lambda x: (len(x), x) if by_size else (0, x))
    if len(names) != clients:
        raise UserError(
            f"{key} finds {len(names)} groups in the training examples, "
            f"{some(names)}; set federated.clients = {len(names)}"
        )
    everywhere = {x for each in owners.values() for x in each.tolist()}
    if strange := sorted(everywhere - found):
        raise UserError(
            f"{key} finds {some(strange)} in no training example, so no client "
            "would hold it"
        )
    return names


def check_not_empty(sizes: Sequence[int], name: str) -> None:
    """Raise a UserError if a client has no training example."""
    empty = [f"client {n}" for n, size in enumerate(sizes) if not size]
    if empty:
        raise UserError(
            f"federated.partition = {name!r} leaves {some(empty)} of "
            f"{len(sizes)} clients without a training example; take fewer "
            "clients or another partition"
        )
