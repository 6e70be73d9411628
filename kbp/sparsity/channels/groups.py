"""Which channels of a network can only go together."""

import numpy as np

KEPT = 0  # the group of what can never go


class ChannelGroups:
    """Groups of channels that stay or go together (union-find).

    A group is a number. Two groups become one where their channels depend on
    each other, and the lesser number stands for both. A group that is kept has
    a reason, and `KEPT` stands for it.
    """

    def __init__(self) -> None:
        self.parents = [KEPT]
        self.reasons: dict[int, str] = {}

    def new(self, count: int) -> np.ndarray:
        """Return groups that nothing else has, `(count,)`."""
        first = len(self.parents)
        self.parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def roots(self, groups: np.ndarray) -> np.ndarray:
        """Return the number that stands for each group, of the same shape."""
        unique, inverse = np.unique(groups, return_inverse=True)
        found = [self._root(group) for group in unique]
        roots = np.array([KEPT if r in self.reasons else r for r in found], int)
        return roots[inverse].reshape(np.shape(groups))

    def merge(
        self, groups: np.ndarray, others: np.ndarray | int, reason: str
    ) -> None:
        """Merge groups pairwise.

        Args:
            groups: of channels.
            others: each as its counterpart.
            reason: why what meets `KEPT` is kept.
        """
        first, second = map(np.ravel, np.broadcast_arrays(groups, others))
        differ = first != second
        count = len(self.parents)
        pairs = np.unique(first[differ] * count + second[differ])
        for pair in zip(*divmod(pairs, count), strict=True):
            a, b = sorted(self._root(group) for group in pair)
            if a == b:
                continue
            if a == KEPT:
                self.reasons.setdefault(b, reason)
                continue
            self.parents[b] = a
            if b in self.reasons:
                self.reasons.setdefault(a, self.reasons.pop(b))

    def why(self, groups: np.ndarray) -> list[str]:
        """Return the reasons for which groups are kept, each once."""
        roots = [self._root(group) for group in np.ravel(groups)]
        return list(
            dict.fromkeys(self.reasons[r] for r in roots if r in self.reasons)
        )

    def _root(self, group: int) -> int:
        group = int(group)
        while self.parents[group] != group:
            self.parents[group] = self.parents[self.parents[group]]
            group = self.parents[group]
        return group
