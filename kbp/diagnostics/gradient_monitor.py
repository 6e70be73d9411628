"""The gradients of a training, layer by layer, while it runs."""

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kbp._utils.types import Tensor
from kbp.diagnostics import backends
from kbp.diagnostics.layers import in_order
from kbp.diagnostics.monitor import Monitor
from kbp.diagnostics.rules import gradient_rules
from kbp.diagnostics.weights import scope, values
from kbp.optimizers import LossScale
from kbp.optimizers.observing import FIGURES, gradient_figures
from kbp.optimizers.summing import SummingOptimizer

Found = list[tuple[keras.Variable, dict[str, float]]]


class GradientMonitor(Monitor):
    """Says how long gradients are from layer to layer, while `fit` runs.

    With kbp's optimizers they are the training's own: those of its batches,
    summed over all replicas, before they are clipped. Keras's optimizers show
    theirs to nobody, so with them the gradients are those of a fixed `probe` at
    the weights after the step, computed as in training (with the dropout that
    the next step draws), once more on one device.

    Args:
        every: number of steps from one that is measured to the next; the first
            is step 0.
        probe: examples `(x, y)` or `(x, y, sample_weight)` whose gradients are
            measured; by default the training's own are.
        layers: names of layers; by default all that are trained.
        vanishing: warns if the gradient of the first layer is shorter than that
            of the last by this factor: 0.001 is what five sigmoids leave of a
            gradient at their steepest, `(1/4)^5`.
        exploding: warns if all gradients together are longer than the weights
            by this factor: at 100, plain descent with a learning rate of 0.01
            takes steps that are as long as the weights.
        say: called with each warning; by default `warnings.warn`.

    Attributes:
        history: for each step measured and each layer a row with `step`,
            `layer`, `gradient_norm` (L2, of all its variables; not a number if
            a value is not), `weight_norm`, `ratio` of the two, and the shares
            of gradient values that are 0 (`zeros`) and `not_finite`.
        warnings: sentences; each once until what it warns of is over.

    Raises:
        ValueError: an argument is out of range; as the training begins, the
            optimizer is none of kbp's and there is no `probe`, or the model has
            no such layers.

    Example:
    >>> import keras, numpy as np, kbp
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(kbp.HybridOptimizer(0.01), "mse")
    >>> monitor = kbp.diagnostics.GradientMonitor(every=2)
    >>> x = np.ones((32, 2), "float32")
    >>> model.fit(
    ...     x, x[:, :1], batch_size=8, callbacks=[monitor], verbose=0
    ... ).epoch
    [0]
    >>> [row["step"] for row in monitor.history]
    [0, 2]

    Reference:
        Glorot and Bengio, Understanding the Difficulty of Training Deep
        Feedforward Neural Networks, 2010; Pascanu et al., On the Difficulty of
        Training Recurrent Neural Networks, 2013.
    """

    figures = ("gradient_norm", "weight_norm", "ratio", "zeros", "not_finite")

    def __init__(
        self,
        every: int = 50,
        *,
        probe: Any = None,
        layers: Sequence[str] | None = None,
        vanishing: float = 1e-3,
        exploding: float = 100.0,
        say: Callable[[str], None] | None = None,
    ):
        super().__init__(
            every, layers, gradient_rules(vanishing, exploding), say
        )
        if not 0 < vanishing < 1:
            raise ValueError(
                "Argument `vanishing` must be between 0 and 1. "
                f"Received: vanishing={vanishing}"
            )
        if not 0 < exploding < math.inf:
            raise ValueError(
                "Argument `exploding` must be a positive number. "
                f"Received: exploding={exploding}"
            )
        if probe is not None and not (
            isinstance(probe, tuple | list) and len(probe) in (2, 3)
        ):
            raise ValueError(
                "Argument `probe` must be examples (x, y) or (x, y, "
                f"sample_weight). Received: {type(probe).__name__}"
            )
        self.probe = probe

    def prepare(self, model: keras.Model) -> None:
        self.names = {
            id(variable): name
            for name, layer in in_order(model).items()
            for variable in layer.trainable_variables
        }
        self.kept = self.chosen([*dict.fromkeys(self.names.values())])
        if self.probe is not None:
            self.found = _of_probe(model, self.probe)
            return
        if self.observe(model) and model.train_function:
            model.make_train_function(force=True)
        self.found = model.optimizer.observed_gradients

    def observe(self, model: keras.Model) -> bool:
        """Let the optimizer of a model measure its gradients.

        Returns:
            Whether a training step that was traced before must be traced again.
        """
        optimizer = model.optimizer
        if not isinstance(optimizer, SummingOptimizer | LossScale):
            raise ValueError(
                f"The optimizer {optimizer.name} shows no gradients. Give the "
                "monitor a `probe=(x, y)`, or train with kbp.HybridOptimizer "
                "or kbp.optimizers.SynchronizedOptimizer."
            )
        if not optimizer.built:
            # TensorFlow's models know their strategy.
            strategy = getattr(model, "distribute_strategy", None)
            with strategy.scope() if strategy else contextlib.nullcontext():
                optimizer.build(model.trainable_variables)
        return optimizer.observe_gradients(self.every)

    def measure(self) -> dict[str, dict[str, float | None]]:
        held: dict[str, list[tuple[int, dict[str, float]]]] = {
            name: [] for name in self.kept
        }
        for variable, figures in self.found():
            name = self.names.get(id(variable))
            if name in held:
                held[name].append((math.prod(variable.shape), figures))
        return {name: _of_layer(parts) for name, parts in held.items()}


def _of_layer(
    parts: list[tuple[int, dict[str, float]]],
) -> dict[str, float | None]:
    """Return the figures of a layer, from sizes and figures of variables."""
    size = sum(count for count, _ in parts)
    shares = {
        key: sum(count * figures[key] for count, figures in parts) / size
        for key in ("zeros", "not_finite")
    }
    gradient, weight = (
        math.hypot(*(figures[key] for _, figures in parts))
        for key in ("gradient_norm", "weight_norm")
    )
    ratio = gradient / weight if weight else math.nan
    norms = {"gradient_norm": gradient, "weight_norm": weight, "ratio": ratio}
    return {**norms, **shares}


def _of_probe(model: keras.Model, probe: Any) -> Callable[[], Found]:
    """Return a function that gives the figures of a probe's gradients."""
    backend, convert = backends.of_keras(), keras.ops.convert_to_tensor
    variables, others = model.trainable_variables, model.non_trainable_variables
    x, y, *weight = keras.tree.map_structure(convert, tuple(probe))

    def loss(tensors: list[Tensor], given: list[Tensor]) -> Tensor:
        # What the model would update, such as statistics, seeds and metrics,
        # is forgotten with the scope.
        with scope([*variables, *others], [*tensors, *given]):
            return model.compute_loss(
                x=x,
                y=y,
                y_pred=model(x, training=True),
                sample_weight=weight[0] if weight else None,
                training=True,
            )

    def figures(tensors: list[Tensor]) -> list[Tensor]:
        half = len(tensors) // 2
        pairs = zip(tensors[:half], tensors[half:], strict=True)
        return [gradient_figures(*pair) for pair in pairs]

    try:
        now, given = values(variables), values(others)
        gradients = backend.differentiated(loss, now, given)
        measured = backend.compiled(figures, [*now, *now])
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Argument `probe` does not fit model {model.name}: {error}"
        ) from error

    def found() -> Found:
        now = values(variables)
        _, slopes = gradients(now, values(others))
        rows = [np.asarray(row).tolist() for row in measured([*slopes, *now])]
        return [
            (variable, dict(zip(FIGURES, row, strict=True)))
            for variable, row in zip(variables, rows, strict=True)
        ]

    return found
