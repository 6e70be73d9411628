"""What monitors of a training have in common."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras

from kbp._utils.arguments import check_integer
from kbp.diagnostics.rules import Row, Rule, Watch
from kbp.errors import nearest
from kbp.optimizers.summing import steps_of


class Monitor(keras.callbacks.Callback, ABC):
    """Measures every so many steps, and warns of what stops learning.

    Nothing that the training computes is changed.

    Args:
        every: number of steps from one that is measured to the next; the first
            is step 0.
        layers: names of the layers; by default all that can be measured.
        rules: what to warn of, by name.
        say: called with each warning; by default `warnings.warn`.

    Attributes:
        history: a row for each layer of each step measured: its step, its
            layer and the figures by name.
        figures: names of the figures.

    Raises:
        ValueError: an argument is out of range; as the training begins, the
            model has no such layers or cannot be measured.
    """

    figures: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        every: int,
        layers: Sequence[str] | None,
        rules: Mapping[str, Rule],
        say: Callable[[str], None] | None,
    ):
        super().__init__()
        check_integer(every=every)
        if isinstance(layers, str) or (layers is not None and not layers):
            raise ValueError(
                "Argument `layers` must be names of layers, or None for all. "
                f"Received: layers={layers!r}"
            )
        self.every, self.layers = every, layers
        self.say = say or warnings.warn
        self.watch = Watch(rules)
        self.history: list[Row] = []
        self.first = 0

    @property
    def warnings(self) -> list[str]:
        """Sentences; each once until what it warns of is over."""
        return self.watch.warnings

    def restart(self, rows: list[Row]) -> None:
        """Go on from the rows of steps that were measured before."""
        self.history, self.watch = [*rows], Watch(self.watch.rules)
        self.watch.look_back(rows)

    @abstractmethod
    def prepare(self, model: keras.Model) -> None:
        """Get ready to measure a compiled model, before it is traced."""

    @abstractmethod
    def measure(self) -> dict[str, dict[str, float | None]]:
        """Return the figures of each layer, by its name."""

    def chosen(
        self, known: Sequence[str], usual: Sequence[str] | None = None
    ) -> list[str]:
        """Return the layers to measure, in the model's order.

        Args:
            known: names of those that can be measured.
            usual: of those that are by default; `None` for all.

        Raises:
            ValueError: there are none, or a name is that of no layer.
        """
        for name in self.layers or ():
            if name not in known:
                raise ValueError(
                    f"Argument `layers` must name layers of model "
                    f"{self.model.name} that a {type(self).__name__} can "
                    f"measure: unknown {name!r}{nearest(str(name), known)}"
                )
        wanted = self.layers or (known if usual is None else usual)
        if not wanted:
            raise ValueError(
                f"Model {self.model.name} has no layer that a "
                f"{type(self).__name__} can measure."
            )
        return [name for name in known if name in wanted]

    def on_train_begin(self, logs: Any = None) -> None:
        self.prepare(self.model)
        self.step = steps_of(self.model.optimizer)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.first = batch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        # Several steps may be one call.
        before = self.step
        self.step += batch - self.first + 1
        due = (self.step - 1) // self.every * self.every
        if due < before:
            return
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        found = self.measure()
        rows = [{"step": due, "layer": x, **found[x]} for x in found]
        self.history += rows
        for sentence in self.watch.look(rows):
            self.say(sentence)
