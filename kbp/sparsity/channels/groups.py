"""Which channels of a network can only go together."""

import numpy as np

KEPT = 0  # the group of what can never go


class ChannelGroups:
    """Groups of channels that stay or go together (union-find).

    A group is a number. Two groups become one where their channels depend on
    each other, and the lesser number stands for both.
    """

    def __init__(self) -> None:
        self.parents = [KEPT]

    def new(self, count: int) -> np.ndarray:
        """Return groups that nothing else has, `(count,)`."""
        first = len(self.parents)
        self.parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def roots(self, groups: np.ndarray) -> np.ndarray:
        """Return the number that stands for each group, of the same shape."""
        unique, inverse = np.unique(groups, return_inverse=True)
        roots = np.array([self._root(group) for group in unique], int)
        return roots[inverse].reshape(np.shape(groups))

    def merge(self, groups: np.ndarray, others: np.ndarray | int) -> None:
        """Merge groups pairwise; what meets `KEPT` is kept."""
        pairs = np.stack(
            [np.ravel(x) for x in np.broadcast_arrays(groups, others)]
        )
        for pair in np.unique(pairs, axis=1).T:
            a, b = sorted(self._root(group) for group in pair)
            self.parents[b] = a  # the least is the root, so `KEPT` is one

    def _root(self, group: int) -> int:
        group = int(group)
        while self.parents[group] != group:
            self.parents[group] = self.parents[self.parents[group]]
            group = self.parents[group]
        return group
