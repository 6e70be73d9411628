"""The optimizers of the race: Keras's, optax's and kbp's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import optimizers

from kbp.benchmarks.optimizer_tasks.tasks import HEADS
from kbp.optimizers import HybridOptimizer
from kbp.optimizers.groups import decay_kernels_alone
from kbp.optimizers.schedules import warmup_cosine

Loss = Callable[[list], Any]  # of the weights, for one batch
TWO_DECADES = (1e-4, 1e-2)


@dataclass(frozen=True)
class Contestant:
    """An optimizer with the range in which its learning rate is searched.

    Attributes:
        create: `create(rate, decay, variables) -> optimizer` of Keras or
            optax, with a learning rate that follows a schedule.
        learning_rates: lowest and highest peak; two decades for each.
        library: "keras" or "optax".
        decays: whether weight decay is searched too.
        scheduled: whether the learning rate follows the cosine; otherwise it
            stays at its peak after the warm-up.
        ours: whether it is kbp's.
    """

    create: Callable[[Any, float, Sequence[Any]], Any]
    learning_rates: tuple[float, float] = TWO_DECADES
    library: str = "keras"
    decays: bool = True
    scheduled: bool = True
    ours: bool = False

    def make(self, model: keras.Model, rate: float, decay: float, steps: int):
        """Return an `OfKeras` or `OfOptax` for a model.

        Args:
            model: to train.
            rate: the peak of its learning rate.
            decay: decoupled weight decay of its kernels.
            steps: of the training; it rises in the first tenth.
        """
        variables = model.trainable_variables
        # So long that the cosine stays at its top.
        whole = steps if self.scheduled else 2**31
        warmup = steps // 10
        if self.library == "keras":
            schedule = warmup_cosine(rate, steps=whole, warmup_steps=warmup)
            optimizer = self.create(schedule, decay, variables)
            decay_kernels_alone(optimizer, model)
            return OfKeras(optimizer, variables)
        import optax

        schedule = optax.warmup_cosine_decay_schedule(0, rate, warmup, whole)
        return OfOptax(self.create(schedule, decay, variables), self.scheduled)


class OfKeras:
    """Steps of a Keras optimizer, as functions of its state."""

    def __init__(self, optimizer: Any, variables: Sequence[Any]):
        optimizer.build(variables)
        self.optimizer = optimizer

    def begin(self, values: list) -> list:
        """Return the state before the first step."""
        return [variable.value for variable in self.optimizer.variables]

    def step(self, state: list, values: list, gradients: list, loss: Loss):
        """Return the state and the weights after a step."""
        values, state = self.optimizer.stateless_apply(state, gradients, values)
        return state, values

    def evaluated(self, state: list, values: list) -> list:
        """Return the weights to evaluate."""
        return values


class OfOptax:
    """Steps of an optax optimizer."""

    def __init__(self, optimizer: Any, scheduled: bool):
        self.optimizer, self.scheduled = optimizer, scheduled

    def begin(self, values: list) -> Any:
        """Return the state before the first step."""
        return self.optimizer.init(values)

    def step(self, state: Any, values: list, gradients: list, loss: Loss):
        """Return the state and the weights after a step."""
        import optax

        optimizer = optax.with_extra_args_support(self.optimizer)
        updates, state = optimizer.update(gradients, state, values, obj_fn=loss)
        return state, optax.apply_updates(values, updates)

    def evaluated(self, state: Any, values: list) -> list:
        """Return the weights to evaluate: schedule-free ones are averages."""
        if self.scheduled:
            return values
        from optax import contrib

        return contrib.schedule_free_eval_params(state, values)


def kernels(variables: Sequence[Any]) -> list[bool]:
    """Say of each variable whether it is a kernel, which decays."""
    return [len(variable.shape) > 1 for variable in variables]


def matrices(variables: Sequence[Any]) -> list[bool]:
    """Say of each variable whether it takes a matrix step, as Muon's.

    As Jordan has it, kernels of convolutions do, as matrices of a row for each
    channel, but no embedding and no last layer.
    """
    return [
        len(variable.shape) > 1
        and "embedding" not in variable.path
        and not variable.path.split("/")[-2].endswith(HEADS)
        for variable in variables
    ]


def _keras(optimizer, **options):
    return lambda rate, decay, _: optimizer(
        rate, weight_decay=decay or None, **options
    )


def _keras_muon(rate, decay, variables):
    # As Keras ships it: kernels that are not 2-D, embeddings and the last
    # layers take its AdamW step.
    return optimizers.Muon(
        rate,
        weight_decay=decay or None,
        adam_weight_decay=decay or None,
        exclude_embeddings=True,
        exclude_layers=[f"{name}/" for name in HEADS],
    )


def _adan(rate, decay, variables):
    import optax

    return optax.adan(rate, weight_decay=decay, mask=kernels(variables))


def _ademamix(rate, decay, variables):
    from optax import contrib

    return contrib.ademamix(rate, weight_decay=decay, mask=kernels(variables))


def _sophia(rate, decay, variables):
    # Its Hessian's diagonal, at each tenth step, needs the loss.
    from optax import contrib

    return contrib.sophia(
        rate, weight_decay=decay, weight_decay_mask=kernels(variables)
    )


def _schedule_free(rate, decay, variables):
    """Return optax's `schedule_free_adamw` with this warm-up and mask."""
    import optax
    from optax import contrib

    inside = optax.chain(
        optax.scale_by_rms(
            decay=0.999, eps_in_sqrt=False, bias_correction=True
        ),
        optax.add_decayed_weights(decay, kernels(variables)),
        optax.scale_by_learning_rate(rate),
    )
    return contrib.schedule_free(inside, rate, b1=0.9)


def _muon(rate, decay, variables):
    """Return Muon with one rate for all, as large as Adam's steps are."""
    from optax import contrib

    dimensions = [
        contrib.MuonDimensionNumbers(
            tuple(range(len(variable.shape) - 1)), len(variable.shape) - 1
        )
        if matrix
        else None
        for variable, matrix in zip(variables, matrices(variables), strict=True)
    ]
    return contrib.muon(
        rate,
        weight_decay=decay,
        weight_decay_mask=kernels(variables),
        adam_weight_decay=decay,
        muon_weight_dimension_numbers=dimensions,
        consistent_rms=0.2,
    )


def _hybrid(rate, decay, variables, **options):
    # A diverged trial is a miss, and no error.
    return HybridOptimizer(
        rate, weight_decay=decay or None, max_skipped_steps=10**6, **options
    )


def _hybrid_matrix(rate, decay, variables):
    # The same kernels as Muon's: by itself it would leave out the last alone.
    chosen = matrices(variables)
    return _hybrid(rate, decay, variables, matrix_steps=chosen)


CONTESTANTS = {
    "SGD-Nesterov": Contestant(
        _keras(optimizers.SGD, momentum=0.9, nesterov=True), (0.01, 1.0)
    ),
    "AdamW": Contestant(_keras(optimizers.AdamW)),
    "Nadam": Contestant(_keras(optimizers.Nadam)),
    "Lion": Contestant(_keras(optimizers.Lion), (1e-5, 1e-3)),
    "Muon of Keras": Contestant(_keras_muon),
    "Muon, flattened": Contestant(_muon, library="optax"),
    "Adan": Contestant(_adan, library="optax"),
    "AdEMAMix": Contestant(_ademamix, library="optax"),
    "Sophia": Contestant(_sophia, library="optax"),
    "schedule-free AdamW": Contestant(
        _schedule_free, library="optax", scheduled=False
    ),
    "HybridOptimizer": Contestant(_hybrid, ours=True),
    "HybridOptimizer, matrix": Contestant(_hybrid_matrix, ours=True),
}
