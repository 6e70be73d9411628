"""HybridOptimizer: Nesterov momentum with AMSGrad's maximum."""

import dataclasses
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from kbp.optimizers.arguments import check_numbers, check_variables
from kbp.optimizers.groups import choose_routes
from kbp.optimizers.perturbation import Perturbation
from kbp.optimizers.step import Step
from kbp.optimizers.summing import SummingOptimizer


@keras.saving.register_keras_serializable(package="kbp")
class HybridOptimizer(SummingOptimizer):
    """Nesterov momentum, scaled by AMSGrad's second moment.

    The default learning rate is Adam's. With `matrix_steps` take ten times as
    much, 0.01, to begin with: the races found the best rates between 0.01 and
    0.03, and at 0.001 small networks learn slowly.

    With `g` the gradient, `t = 1, 2, ...` the step, `rho` the `amsgrad_decay`
    and `p` the `preconditioner_power`:

        m    = beta_1 m + (1 - beta_1) g
        v    = beta_2 v + (1 - beta_2) g^2
        vmax = max(rho vmax, v)
        n    = beta_1 m / (1 - beta_1^(t+1))^p
               + (1 - beta_1) g / (1 - beta_1^t)^p
        w    = w - learning_rate (n / (sqrt(vmax / (1 - beta_2^t)) + epsilon)^p
                                  + weight_decay w)

    `n` looks one step ahead, as Nesterov's momentum does, with the bias
    correction that Dozat derived for a constant `beta_1`. The maximum is
    taken before the bias correction: after it, the first steps would freeze
    it.

    The rule reaches its parents exactly: `rho = 0` is NAdam with decoupled
    weight decay; `p = 0` is SGD with Nesterov momentum at a learning rate of
    `(1 - beta_1) learning_rate`.

    With `matrix_steps`, kernels take an orthogonalized (Muon-style) update: the
    step is the nearest semi-orthogonal matrix to `n`, the direction of steepest
    descent under the spectral norm:

        w = w - learning_rate (0.2 sqrt(max(rows, columns)) U V^T
                               + weight_decay w),        n = U S V^T

    A kernel `(..., outputs)` is one matrix of `outputs` columns, a
    convolution's too. The factor gives the step the root mean square that an
    elementwise step has (about 0.2), so one learning rate serves both.

    Everything acts after the replicas' gradients are summed: clipping,
    accumulation, averaging and decay, so that N replicas equal one. A step
    whose gradients are not finite (or whose squares overflow) is skipped; when
    gradients are accumulated, such a micro-batch is left out.

    Args:
        learning_rate: float, schedule or callable; see above for
            `matrix_steps`.
        beta_1: decay of the first moment, in [0, 1).
        beta_2: decay of the second moment, in [0, 1).
        epsilon: positive; it keeps the division finite.
        amsgrad_decay: `rho`, in [0, 1]; 1 keeps the maximum for ever.
        preconditioner_power: `p`, in [0, 1].
        matrix_steps: whether kernels take the orthogonalized (Muon-style)
            update: `True` for every kernel but the last layer's, embeddings,
            depthwise kernels and those of one column or row; or a bool for
            each trainable variable, in the model's order. The choice is made
            when the optimizer is built, and saved with it.
        max_skipped_steps: number of skipped steps in a row that raises an
            error on TensorFlow, unless XLA compiles the whole training step;
            `skipped_in_a_row` counts them on every backend.
        average_from: with `use_ema`, the update from which on all weights
            count alike in their average (a tail average); `None` for a moving
            average.
        weight_decay: decoupled weight decay, or `None`.
        perturbation: noise that leaves saddles, a
            `kbp.optimizers.Perturbation` or its arguments by name, or `None`.
        **kwargs: what every Keras optimizer takes: `clipnorm`,
            `global_clipnorm`, `clipvalue`, `use_ema`, `loss_scale_factor`,
            `gradient_accumulation_steps`, `name`, ...

    Raises:
        ValueError: an argument is out of range; at building, `matrix_steps`
            does not fit the variables.

    Example:
    >>> import keras, kbp
    >>> w = keras.Variable([1.0])
    >>> optimizer = kbp.HybridOptimizer(0.1)
    >>> optimizer.apply([keras.ops.array([2.0])], [w])
    >>> round(float(w[0]), 3)  # 1 - 0.1 (0.9 * 0.1 / 0.19 + 1)
    0.853

    Orthogonalized updates for the convolutions alone:

    >>> model = keras.Sequential(
    ...     [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)]
    ... )
    >>> optimizer = kbp.HybridOptimizer(
    ...     matrix_steps=[len(v.shape) == 4 for v in model.trainable_variables]
    ... )

    Reference:
        Dozat, Incorporating Nesterov Momentum into Adam, 2016; Reddi et al.,
        On the Convergence of Adam and Beyond, 2018; Jordan et al., Muon, 2024;
        Liu et al., Muon is Scalable for LLM Training, 2025 (the factor); Amsel
        et al., The Polar Express, 2025 (the iteration).
    """

    def __init__(
        self,
        learning_rate: float
        | keras.optimizers.schedules.LearningRateSchedule
        | Callable[[], float] = 0.001,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad_decay: float = 1.0,
        preconditioner_power: float = 1.0,
        matrix_steps: bool | Sequence[bool] = False,
        max_skipped_steps: int = 10,
        average_from: int | None = None,
        weight_decay: float | None = None,
        perturbation: Perturbation | Mapping[str, Any] | None = None,
        name: str = "hybrid",
        **kwargs: Any,
    ):
        check_numbers(
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            amsgrad_decay=amsgrad_decay,
            preconditioner_power=preconditioner_power,
        )
        if isinstance(learning_rate, numbers.Real):
            check_numbers(learning_rate=learning_rate)
        if weight_decay is not None:
            check_numbers(weight_decay=weight_decay)
        super().__init__(
            learning_rate,
            max_skipped_steps=max_skipped_steps,
            average_from=average_from,
            weight_decay=weight_decay,
            name=name,
            **kwargs,
        )
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.amsgrad_decay = amsgrad_decay
        self.preconditioner_power = preconditioner_power
        self.matrix_steps = _checked_choice(matrix_steps)
        if isinstance(perturbation, Mapping):
            perturbation = Perturbation(**perturbation)
        if not isinstance(perturbation, Perturbation | None):
            raise ValueError(
                "Argument `perturbation` must be a Perturbation, its arguments "
                f"by name, or None. Received: perturbation={perturbation!r}"
            )
        self.perturbation = perturbation

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        variables = list(variables)
        check_variables(variables, self.epsilon)
        routes = choose_routes(variables, self.matrix_steps)
        super().build(variables)
        if self.matrix_steps is True:
            self.matrix_steps = [route.matrix for route in routes]
        self._step = self.make_step(Step, variables, routes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "amsgrad_decay": self.amsgrad_decay,
            "preconditioner_power": self.preconditioner_power,
            "matrix_steps": self.matrix_steps,
            "perturbation": self.perturbation
            and dataclasses.asdict(self.perturbation),
        }


def _checked_choice(matrix_steps: bool | Sequence[bool]) -> bool | list[bool]:
    """Return the argument `matrix_steps`, a sequence as a list of bools."""
    if isinstance(matrix_steps, bool):
        return matrix_steps
    choice = list(matrix_steps)
    if not all(isinstance(one, bool) for one in choice):
        raise ValueError(
            "Argument `matrix_steps` must be a bool or a sequence of bools. "
            f"Received: matrix_steps={choice}"
        )
    return choice
