"""What layers give for the same examples, while a training runs."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kbp._utils.types import Tensor
from kbp.diagnostics import backends
from kbp.diagnostics.activations import (
    RELUS,
    SHARES,
    activation_of,
    keeping_outputs,
    measured,
)
from kbp.diagnostics.effective_rank import rank_of_singular
from kbp.diagnostics.layers import in_order
from kbp.diagnostics.monitor import Monitor
from kbp.diagnostics.rules import activation_rules
from kbp.diagnostics.weights import scope, values


class ActivationMonitor(Monitor):
    """Says what layers give for a fixed probe, while `fit` runs.

    The probe goes through the model as in inference, after the step that is
    measured.

    Args:
        probe: some examples' inputs, as the model takes them: an array, or a
            list or dictionary of arrays.
        every: number of steps from one that is measured to the next; the first
            is step 0.
        layers: names of layers; by default all that train or are activations.
        dead: warns if more than this share of a layer's ReLUs are 0 for all
            examples, which then have no gradient: at one half, a layer is
            half as wide as it costs.
        saturated: warns if more than this share of the values of a layer within
            the network are at the ends of its sigmoid's, tanh's or softmax's
            range, by 1 % of it: at one half, most of a gradient is lost there.
        say: called with each warning; by default `warnings.warn`.

    Attributes:
        history: for each step measured and each layer a row with `step`,
            `layer`, the shares of values that are 0 (`zeros`) and
            `not_finite`, of units of ReLUs that are `dead`, those aside that
            masks have closed, and of values that are `saturated` (both `None`
            for other activations, and the latter for the model's outputs,
            which are sure of what was learned), and `effective_rank` of at
            most 512 rows of units.
        warnings: sentences; each once until what it warns of is over.

    Raises:
        ValueError: an argument is out of range; as the training begins, the
            probe does not fit the model, or it has no such layers.

    Example:
    >>> import keras, numpy as np, kbp
    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), keras.layers.Dense(4, "relu", name="hidden")]
    ... )
    >>> model.compile("sgd", "mse")
    >>> x = np.ones((8, 2), "float32")
    >>> monitor = kbp.diagnostics.ActivationMonitor(x)
    >>> model.fit(x, np.ones((8, 4)), callbacks=[monitor], verbose=0).epoch
    [0]
    >>> [row["layer"] for row in monitor.history]
    ['hidden']

    Reference:
        Roy and Vetterli, The Effective Rank, 2007.
    """

    figures = (*SHARES, "effective_rank")

    def __init__(
        self,
        probe: Any,
        every: int = 50,
        *,
        layers: Sequence[str] | None = None,
        dead: float = 0.5,
        saturated: float = 0.5,
        say: Callable[[str], None] | None = None,
    ):
        super().__init__(every, layers, activation_rules(dead, saturated), say)
        for name, share in (("dead", dead), ("saturated", saturated)):
            if not 0 < share < 1:
                raise ValueError(
                    f"Argument `{name}` must be between 0 and 1. "
                    f"Received: {name}={share}"
                )
        for part in keras.tree.flatten(probe):
            if not np.ndim(part) or not len(part):
                raise ValueError(
                    "Argument `probe` must be the inputs of some examples. "
                    f"Received: {part!r}"
                )
        self.probe = keras.tree.map_structure(np.array, probe)
        self.ready: keras.Model | None = None

    def prepare(self, model: keras.Model) -> None:
        if model is self.ready:  # for another `fit`
            return
        if not model.built:
            raise ValueError(f"Model {model.name} must be built.")
        layers = in_order(model)
        usual = [
            name
            for name, layer in layers.items()
            if layer.trainable_weights or activation_of(layer)
        ]
        self.kept = {
            name: layers[name] for name in self.chosen([*layers], usual)
        }
        variables = model.variables
        backend = backends.of_keras()
        probe = keras.tree.map_structure(ops.convert_to_tensor, self.probe)
        self.order: list[str] = []

        def run(tensors: list[Tensor]) -> list[Tensor]:
            given: dict[str, tuple[Tensor | None, Tensor]] = {}
            with (
                scope(variables, tensors),
                keeping_outputs(self.kept, given),
            ):
                ends = model(probe, training=False)
            self.order = [name for name in self.kept if name in given]
            last = {id(x) for x in keras.tree.flatten(ends)}
            return [
                part
                for name in self.order
                for part in measured(
                    *given[name],
                    activation_of(self.kept[name]),
                    ends=id(given[name][1]) in last,
                )
            ]

        try:
            made = backend.compiled(run, values(variables))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Argument `probe` does not fit model {model.name}: {error}"
            ) from error

        def outputs() -> list[Tensor]:
            found: list[Tensor] = made(values(variables))
            return found

        self.outputs, self.ready = outputs, model

    def measure(self) -> dict[str, dict[str, float | None]]:
        found: dict[str, dict[str, float | None]] = {}
        parts = [np.asarray(part) for part in self.outputs()]
        for name, shares, singular in zip(
            self.order, parts[::2], parts[1::2], strict=True
        ):
            figures: dict[str, float | None] = dict(
                zip(SHARES, shares.tolist(), strict=True)
            )
            if activation_of(self.kept[name]) not in RELUS:
                figures["dead"] = None
            if math.isnan(shares[2]):
                figures["saturated"] = None
            rank = math.nan
            if not figures["not_finite"]:
                rank = rank_of_singular(singular)
            found[name] = figures | {"effective_rank": rank}
        return found
