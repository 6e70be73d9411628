"""HybridOptimizer: Nesterov momentum with AMSGrad's maximum."""

import math
from collections.abc import Callable

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kbp")
class HybridOptimizer(keras.optimizers.Optimizer):
    """Nesterov momentum, scaled by AMSGrad's second moment.

    With `g` the gradient and `t = 1, 2, ...` the step:

        m    = beta_1 m + (1 - beta_1) g
        v    = beta_2 v + (1 - beta_2) g^2
        vmax = max(vmax, v)
        n    = beta_1 m / (1 - beta_1^(t+1)) + (1 - beta_1) g / (1 - beta_1^t)
        w    = w - learning_rate n / (sqrt(vmax / (1 - beta_2^t)) + epsilon)

    `n` looks one step ahead, as Nesterov's momentum does, with the bias
    correction that Dozat derived for a constant `beta_1`. The maximum is
    taken before the bias correction: after it, the first steps would freeze
    it.

    Args:
        learning_rate: float, schedule or callable.
        beta_1: decay of the first moment, in [0, 1).
        beta_2: decay of the second moment, in [0, 1).
        epsilon: positive; keeps the division finite.
        weight_decay: decoupled weight decay, or `None`.
        **kwargs: what every Keras optimizer takes: `clipnorm`,
            `global_clipnorm`, `clipvalue`, `use_ema`, `loss_scale_factor`,
            `gradient_accumulation_steps`, `name`, ...

    Raises:
        ValueError: an argument is out of range.

    Example:
    >>> import keras, kbp
    >>> w = keras.Variable([1.0])
    >>> optimizer = kbp.HybridOptimizer(0.1)
    >>> optimizer.apply([keras.ops.array([2.0])], [w])
    >>> round(float(w[0]), 3)  # 1 - 0.1 (0.9 * 0.1 / 0.19 + 1)
    0.853

    Reference:
        Dozat, Incorporating Nesterov Momentum into Adam, 2016; Reddi et al.,
        On the Convergence of Adam and Beyond, 2018.
    """

    def __init__(
        self,
        learning_rate: float
        | keras.optimizers.schedules.LearningRateSchedule
        | Callable = 0.001,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        name: str = "hybrid",
        **kwargs,
    ):
        for argument, value in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= value < 1:
                raise ValueError(
                    f"Argument `{argument}` must be in [0, 1). "
                    f"Received: {argument}={value}"
                )
        if not (epsilon > 0 and math.isfinite(epsilon)):
            raise ValueError(
                "Argument `epsilon` must be positive and finite. "
                f"Received: epsilon={epsilon}"
            )
        if isinstance(learning_rate, int | float) and not (
            learning_rate >= 0 and math.isfinite(learning_rate)
        ):
            raise ValueError(
                "Argument `learning_rate` must be finite and not negative. "
                f"Received: learning_rate={learning_rate}"
            )
        if weight_decay is not None and not (
            weight_decay >= 0 and math.isfinite(weight_decay)
        ):
            raise ValueError(
                "Argument `weight_decay` must be finite and not negative. "
                f"Received: weight_decay={weight_decay}"
            )
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            name=name,
            **kwargs,
        )
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities, self._maxima = (
            self.add_optimizer_variables(
                variables, ["momentum", "velocity", "velocity_max"]
            )
        )

    def update_step(self, gradient, variable, learning_rate):
        dtype = variable.dtype
        learning_rate = ops.cast(learning_rate, dtype)
        gradient = ops.cast(gradient, dtype)
        index = self._get_variable_index(variable)
        m, v, v_max = (
            state[index]
            for state in (self._momentums, self._velocities, self._maxima)
        )
        step = ops.cast(self.iterations + 1, dtype)
        one, beta_1, beta_2 = (
            ops.cast(x, dtype) for x in (1.0, self.beta_1, self.beta_2)
        )
        ahead = (one - beta_1) / (one - ops.power(beta_1, step))
        along = beta_1 / (one - ops.power(beta_1, step + one))
        unbias = ops.sqrt(one - ops.power(beta_2, step))

        self.assign_add(m, (gradient - m) * (one - beta_1))
        self.assign_add(v, (ops.square(gradient) - v) * (one - beta_2))
        self.assign(v_max, ops.maximum(v_max, v))
        lookahead = along * m + ahead * gradient
        scale = ops.sqrt(v_max) / unbias + self.epsilon
        self.assign_sub(variable, learning_rate * lookahead / scale)

    def get_config(self):
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }
