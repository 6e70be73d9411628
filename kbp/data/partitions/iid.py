"""Every client has as many examples, drawn from all alike."""

import numpy as np

from kbp.data.partitions.registry import Split, register_partition


@register_partition("iid")
def iid(split: Split, clients: int, seed: int) -> np.ndarray:
    """Return the client of each example, in random order."""
    count = len(split.examples)
    return np.random.default_rng(seed).permutation(count) % clients
