"""Each class is spread over the clients by shares that are drawn.

Reference:
    Hsu, Qi and Brown, Measuring the Effects of Non-Identical Data Distribution
    for Federated Visual Classification, 2019; shares drawn for each class, as
    by Li et al., Federated Learning on Non-IID Data Silos, 2022.
"""

import numpy as np

from kbp.data.partitions.registry import Split, register_partition
from kbp.errors import UserError

_TRIES = 1000  # draws until every client has a training example


@register_partition("dirichlet")
def dirichlet(
    split: Split, clients: int, seed: int, alpha: float = 0.5
) -> np.ndarray:
    """Return the client of each example.

    Of each class the clients have shares from a symmetric Dirichlet
    distribution. The shares are the same in all splits, so a client is judged
    on classes as it has them. They are drawn again until every client has a
    training example.

    Args:
        split: with a class for each example.
        clients: how many.
        seed: of the draws.
        alpha: of the distribution; the smaller, the more clients differ.

    Raises:
        UserError: there are no classes, or too few examples.
    """
    if split.classes is None:
        raise UserError(
            'federated.partition = "dirichlet" shares out classes, and these '
            'data have none; take federated.partition = "iid"'
        )
    train = Split("train", split.train, split.train, split.splits)
    rng = np.random.default_rng(seed)
    count = len(split.splits.class_names)
    for _ in range(_TRIES):
        shares = rng.dirichlet(np.full(clients, alpha), size=count)
        if len(np.unique(_owners(train.classes, shares, seed))) == clients:
            return _owners(split.classes, shares, seed)
    raise UserError(
        f"federated.alpha = {alpha} leaves one of {clients} clients without a "
        f"training example in each of {_TRIES} draws; take fewer clients or a "
        "larger alpha"
    )


def _owners(
    classes: np.ndarray | None, shares: np.ndarray, seed: int
) -> np.ndarray:
    """Return who has which examples, by the shares of each class."""
    labels = np.asarray(classes)
    owners = np.zeros(len(labels), int)
    order = np.random.default_rng((seed, 1)).permutation(len(labels))
    for label, share in enumerate(shares):
        chosen = order[labels[order] == label]
        ends = np.cumsum(share)[:-1] * len(chosen)
        parts = np.split(chosen, np.rint(ends).astype(int))
        for client, part in enumerate(parts):
            owners[part] = client
    return owners
