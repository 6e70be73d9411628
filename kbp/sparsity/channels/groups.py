"""Which channels of a network can only go together."""

import numpy as np

KEPT = 0  # the label of what can never go


class Labels:
    """Labels of channels, merged where two channels are one (union-find)."""

    def __init__(self):
        self.parents = [KEPT]

    def new(self, count: int) -> np.ndarray:
        """Return labels that nothing else has, `(count,)`."""
        first = len(self.parents)
        self.parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def roots(self, labels: np.ndarray) -> np.ndarray:
        """Return the one label that stands for each, of the same shape."""
        unique, inverse = np.unique(labels, return_inverse=True)
        roots = np.array([self._root(label) for label in unique], int)
        return roots[inverse].reshape(np.shape(labels))

    def merge(self, labels: np.ndarray, others: np.ndarray) -> None:
        """Merge labels pairwise; what meets `KEPT` is kept."""
        pairs = np.stack(
            [np.ravel(x) for x in np.broadcast_arrays(labels, others)]
        )
        for a, b in np.unique(pairs, axis=1).T:
            a, b = sorted((self._root(a), self._root(b)))
            self.parents[b] = a  # the least is the root, so `KEPT` is one

    def _root(self, label):
        label = int(label)
        while self.parents[label] != label:
            self.parents[label] = self.parents[self.parents[label]]
            label = self.parents[label]
        return label
