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
        returns the client of each example of a `Split`, integers `(examples,)`
        from 0, or `EVERYONE`. Its keyword arguments are keys of `[federated]`.

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


def shared(
    splits: Any,
    clients: int,
    *,
    name: str,
    seed: int,
    keys: Mapping[str, Any],
) -> list[dict[str, np.ndarray]]:
    """Return the indices of each client's examples in each split.

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
    found: list[dict[str, np.ndarray]] = [{} for _ in range(clients)]
    for split in SPLITS:
        examples = getattr(splits, split)
        about = Split(split, examples, splits.train, splits)
        owners = np.zeros(0, int)
        if len(examples):
            owners = PARTITIONS[name](about, clients, seed, **keys)
        for client, parts in enumerate(found):
            has = (owners == client) | (owners == EVERYONE)
            parts[split] = np.flatnonzero(has)
    check_not_empty([len(parts["train"]) for parts in found], name)
    return found


def check_not_empty(sizes: Sequence[int], name: str) -> None:
    """Raise a UserError if a client has no training example."""
    empty = [f"client {n}" for n, size in enumerate(sizes) if not size]
    if empty:
        raise UserError(
            f"federated.partition = {name!r} leaves {some(empty)} of "
            f"{len(sizes)} clients without a training example; take fewer "
            "clients or another partition"
        )
