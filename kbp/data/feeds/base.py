"""Examples of a split, read as often as training asks for them."""

from abc import ABC, abstractmethod
from typing import Any

import tensorflow as tf

from kbp._utils.examples import Batch
from kbp.data.shares import WHOLE, Shares


class Feed(ABC):
    """Examples of one split, read as often as training asks for them.

    Elements are `(inputs, targets)` or `(inputs, targets, weights)`, the inputs
    a tensor, or of several inputs a dictionary by their names.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of examples."""

    @abstractmethod
    def input_shapes(self) -> list[tuple[int | None, ...]]:
        """Return the shapes of an example, `None` where sizes differ."""

    @abstractmethod
    def steps(self, batch_size: int) -> int:
        """Return how many batches an epoch has."""

    @abstractmethod
    def training(
        self,
        batch_size: int,
        *,
        seed: int,
        start_step: int,
        shares: Shares = WHOLE,
    ) -> tf.data.Dataset:
        """Return endless batches from a step on, or shares of each."""

    @abstractmethod
    def batches(
        self, batch_size: int, shares: Shares = WHOLE
    ) -> tf.data.Dataset:
        """Return all examples once, in order, or shares of each batch."""


def element(batch: Batch, names: tuple[str, ...]) -> tuple[Any, ...]:
    """Return a batch as `fit` takes it."""
    inputs: Any = dict(zip(names, batch.inputs, strict=True))
    if len(names) == 1:
        (inputs,) = batch.inputs
    rest = (batch.targets, batch.weights)
    return inputs, *(_without_lists(x) for x in rest if x is not None)


def _without_lists(value: Any) -> Any:
    """Return a structure with tuples for lists, which tf.data stacks."""
    if isinstance(value, dict):
        return {name: _without_lists(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(_without_lists, value))
    return value
