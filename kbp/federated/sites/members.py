"""Which nodes a round asks: those that are there, and those that were."""

import time
from collections.abc import Callable
from typing import Any

from kbp.errors import UserError
from kbp.federated.flower import Grid, Strategy


class Members:
    """The nodes of a federation, of whom a strategy draws those that it asks.

    A strategy of Flower's waits until as many nodes are connected as there are
    clients, and for ever if one of them has died. Here nodes that have left
    count on, as many as are missing: they are asked, do not answer, and are
    left out by name.

    Args:
        nodes: names of all that have been there, by their numbers; more come.
        needed: how many nodes must have come.
        timeout: seconds in which they must have come.
        waiting: `waiting(there, needed)`, called before it waits for more.
    """

    def __init__(
        self,
        nodes: dict[int, str],
        needed: int,
        timeout: float,
        waiting: Callable[[int, int], None],
    ):
        self.known, self.needed, self.timeout = nodes, needed, timeout
        self.waiting = waiting

    def of(self, grid: Grid) -> Any:
        """Return what stands for a grid where nodes are drawn.

        Raises:
            UserError: too few nodes have ever been there.
        """
        end, said = time.monotonic() + self.timeout, False
        while True:
            here = {*grid.get_node_ids()}
            for node in here:
                self.known.setdefault(node, f"node {node}")
            if len(self.known) >= self.needed:
                break
            if not said:
                self.waiting(len(self.known), self.needed)
                said = True
            if time.monotonic() >= end:
                raise UserError(
                    f"{len(self.known)} of {self.needed} clients have "
                    f"connected in {self.timeout:g} s (federated.timeout)"
                )
            time.sleep(1)
        missing = max(0, self.needed - len(here))
        return _Drawn([*sorted(here), *sorted({*self.known} - here)[:missing]])


class _Drawn:
    """A grid as far as drawing goes."""

    def __init__(self, nodes: list[int]):
        self.nodes = nodes

    def get_node_ids(self) -> list[int]:
        return self.nodes


def nodes_needed(strategy: Any) -> int:
    """Return how many nodes a strategy of Flower's waits for."""
    while isinstance(held := getattr(strategy, "strategy", None), Strategy):
        strategy = held
    names = ("min_available_nodes", "min_train_nodes")
    return max(int(getattr(strategy, name, 1)) for name in names)
