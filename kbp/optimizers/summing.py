"""What optimizers have in common whose steps follow the replicas' sum."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
from keras import ops

from kbp._utils.types import Tensor
from kbp.optimizers.arguments import check_common, check_integers
from kbp.optimizers.observing import FIGURES, Observation
from kbp.optimizers.perturbation import Perturbation
from kbp.optimizers.step import Step

_NOT_BUILT = (
    "The optimizer knows no variables yet: call "
    "`optimizer.build(model.trainable_variables)` first."
)


class SummingOptimizer(keras.optimizers.Optimizer):
    """A Keras optimizer that acts on gradients summed over all replicas.

    Clipping, accumulation, averaging and decay follow the sum, so that N
    replicas equal one. A step whose gradients are not finite is skipped, and
    counted; when gradients are accumulated, such a micro-batch is left out.

    A subclass makes its `Step` in `build`.

    Args:
        learning_rate: float, schedule or callable.
        max_skipped_steps: number of skipped steps in a row that raises an
            error, see `HybridOptimizer`.
        average_from: with `use_ema`, the update from which on all weights
            count alike in their average; `None` for a moving average.
        name: of the optimizer.
        **kwargs: what every Keras optimizer takes.

    Raises:
        ValueError: an argument is out of range.
    """

    perturbation: Perturbation | None = None
    ends_averaged = True  # whether `fit` ends with averages, if there are any
    expected_skips = 0  # in a row, that are no fault
    _step: Step

    def __init__(
        self,
        learning_rate: Any,
        *,
        max_skipped_steps: int,
        average_from: int | None,
        name: str,
        **kwargs: Any,
    ):
        check_integers(max_skipped_steps=max_skipped_steps)
        check_common(average_from=average_from, **kwargs)
        if average_from is not None and not kwargs.get("use_ema"):
            raise ValueError(
                "Argument `average_from` needs `use_ema=True`. Received: "
                f"average_from={average_from}"
            )
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.max_skipped_steps = max_skipped_steps
        self.average_from = average_from
        # Indices, where Keras's own list of exclusions cannot be saved, and of
        # how many variables they are.
        self._undecayed: list[int] | None = None
        self._num_variables: int | None = None

    def make_step(
        self, kind: Callable[..., Step], variables: Sequence[Any], *more: Any
    ) -> Step:
        """Return the step of the built optimizer.

        Args:
            kind: `Step` or a subclass.
            variables: the trainable variables.
            *more: what else it takes before the indices without decay.
        """
        if self._undecayed is None:
            self._undecayed = [
                i
                for i, variable in enumerate(variables)
                if not self._use_weight_decay(variable)
            ]
        elif self._num_variables not in (None, len(variables)):
            raise ValueError(
                "The optimizer's configuration says of "
                f"{self._num_variables} variables which of them decay. "
                f"Received: {len(variables)} variables"
            )
        self._num_variables = len(variables)
        return kind(
            self,
            variables,
            *more,
            self._undecayed,
            sums=getattr(self, "_accumulated_gradients", None),
            averages=getattr(self, "_model_variables_moving_average", None),
        )

    def _backend_apply_gradients(
        self,
        grads: Sequence[Tensor],
        trainable_variables: Sequence[keras.Variable],
    ) -> None:
        # Keras calls this with each replica's own gradients.
        gradients = {
            self._get_variable_index(variable): gradient
            for gradient, variable in zip(
                grads, trainable_variables, strict=True
            )
        }
        learning_rate = ops.add(self.learning_rate, 0.0)  # not a variable
        self._step.run(gradients, learning_rate)

    @property
    def seen_steps(self) -> Any:
        """The number of steps as `fit` counts them, with those skipped.

        Keras's `iterations` are the updates where gradients are accumulated.
        """
        return self._iterations

    @property
    def schedule(self) -> Any:
        """The learning rate's schedule, or the variable that holds it."""
        return self._learning_rate

    @property
    def skipped_steps(self) -> int:
        """The number of steps that were skipped for gradients not finite."""
        return self._count("skipped")

    @property
    def skipped_in_a_row(self) -> int:
        """The number of steps that were skipped since the last update."""
        return self._count("skipped_in_a_row")

    def _count(self, name: str) -> int:
        if not self.built:
            return 0
        return int(ops.convert_to_numpy(self._step.counts[name]))

    def observe_gradients(self, every: int) -> bool:
        """Measure the gradients of every so many steps from now on.

        They are those that the training takes, summed over the replicas, before
        they are clipped. A training step that was traced before measures none.

        Args:
            every: number of steps.

        Returns:
            Whether that is new, so that a training step must be traced again.

        Raises:
            ValueError: the optimizer is not built, or `every` no such number.
        """
        check_integers(every=every)
        if not self.built:
            raise ValueError(_NOT_BUILT)
        step = self._step
        if not step.observation:
            step.observation = Observation(
                every, self, step.weights, step.execution
            )
            return True
        before = step.observation.every
        # Another's steps are measured, too.
        step.observation.every = math.gcd(before, every)
        return step.observation.every != before

    def observed_gradients(
        self,
    ) -> list[tuple[keras.Variable, dict[str, float]]]:
        """Return each variable with the figures of the last step measured.

        Their names are `kbp.optimizers.observing.FIGURES`.

        Raises:
            ValueError: no gradients are observed.
        """
        if not self.built or self._step.observation is None:
            raise ValueError("Call `observe_gradients` before.")
        rows = ops.convert_to_numpy(self._step.observation.figures).tolist()
        return [
            (weight, dict(zip(FIGURES, row, strict=True)))
            for weight, row in zip(self._step.weights, rows, strict=True)
        ]

    def describe(self) -> str:
        """Describe how each variable is updated, and why.

        Returns:
            A line for each variable: its path and shape, the rule, where its
            update runs, and whether weight decay acts on it.

        Raises:
            ValueError: the optimizer is not built.
        """
        if not self.built:
            raise ValueError(_NOT_BUILT)
        return self._step.describe()

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[keras.Variable] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        """Exclude variables from weight decay, before the optimizer is built.

        Unlike Keras's own, the choice is saved with the optimizer.

        Args:
            var_list: variables to exclude.
            var_names: words; a variable is excluded if its name contains one.

        Raises:
            ValueError: the optimizer is built already.
        """
        if self.built:
            raise ValueError(
                "`exclude_from_weight_decay` must be called before the "
                "optimizer is built, that is before the first step."
            )
        super().exclude_from_weight_decay(var_list, var_names)
        self._undecayed = self._num_variables = None  # of a configuration

    def finalize_variable_values(
        self, var_list: Sequence[keras.Variable] | None
    ) -> None:
        """Overwrite variables with their averages, if `use_ema=True`.

        Keras pairs averages and variables by position, wrongly where a layer
        was frozen since (keras 3.15); these are the optimizer's own.

        Args:
            var_list: not used.
        """
        if self.use_ema and self.built and self.ends_averaged:
            super().finalize_variable_values(self._trainable_variables)

    def save_own_variables(self, store: Any) -> None:
        if self.built:  # before the first step there is no state
            for name, array in self._step.arrays().items():
                store[name] = array

    def load_own_variables(self, store: Any) -> None:
        if has_own_state(self, store):
            self._step.load(store)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "max_skipped_steps": self.max_skipped_steps,
            "average_from": self.average_from,
            "undecayed": self._undecayed,
            "num_variables": self._num_variables,
        }

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        custom_objects: dict[str, Any] | None = None,
    ) -> Self:
        config = dict(config)
        # Settled by `exclude_from_weight_decay`, which Keras does not save.
        undecayed = config.pop("undecayed", None)
        count = config.pop("num_variables", None)
        optimizer = super().from_config(config, custom_objects)
        optimizer._undecayed, optimizer._num_variables = undecayed, count
        return optimizer


def has_own_state(optimizer: keras.optimizers.Optimizer, store: Any) -> bool:
    """Say whether a store holds state that an optimizer can take.

    Files of weights hold their optimizer's too. As Keras does, one that has no
    variables yet, or is another one, warns and begins anew.
    """
    names = list(store.keys())
    if not names:
        return False
    # Keras names its optimizers' variables by numbers.
    others = all(name.isdigit() for name in names)
    if optimizer.built and not others:
        return True
    why = "is of another optimizer" if others else "comes before its variables"
    warnings.warn(
        f"{type(optimizer).__name__} leaves out the saved state, which {why}, "
        "and begins anew.",
        stacklevel=2,
    )
    return False


def steps_of(optimizer: Any) -> int:
    """Return how many steps `fit` has taken with an optimizer.

    Keras's `iterations` are fewer where gradients are accumulated.
    """
    steps = getattr(optimizer, "seen_steps", optimizer.iterations)
    return int(keras.ops.convert_to_numpy(steps))
