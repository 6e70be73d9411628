"""The optimizers of the race, each with its search range."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import optimizers

from kbp.optimizers import HybridOptimizer

HEAD = "head"  # the network's last layer, which Keras's Muon must be told
# Evaluated with averaged weights, which any Keras optimizer can keep.
AVERAGED: dict[str, Any] = {"use_ema": True, "ema_momentum": 0.9}
TWO_DECADES = (1e-3, 1e-1)


@dataclass(frozen=True)
class Contestant:
    """An optimizer with the range in which its learning rate is searched.

    Attributes:
        create: `create(learning_rate, weight_decay) -> optimizer`; the
            learning rate is a schedule.
        learning_rates: lowest and highest peak; two decades for each.
        decays: whether weight decay is searched too.
        scheduled: whether the learning rate follows the cosine; otherwise it
            stays at its peak after the warm-up.
        ours: whether it is kbp's.
    """

    create: Callable[..., keras.optimizers.Optimizer]
    learning_rates: tuple[float, float] = TWO_DECADES
    decays: bool = True
    scheduled: bool = True
    ours: bool = False


def _keras(optimizer, **options):
    """Return a function that creates an optimizer with weight decay."""
    return lambda rate, decay: optimizer(rate, weight_decay=decay, **options)


def _muon(rate, decay):
    # As Keras ships it: convolution kernels, which are not 2-D, and the head
    # take its AdamW step, with a decay of their own.
    return optimizers.Muon(
        rate,
        weight_decay=decay,
        adam_weight_decay=decay,
        exclude_layers=[HEAD],
    )


def _averaged(contestant):
    def create(rate, decay):
        optimizer = contestant.create(rate, decay)
        config = {**optimizer.get_config(), **AVERAGED}
        return type(optimizer).from_config(config)

    return replace(contestant, create=create)


def _hybrid(**options):
    # A diverged trial is a miss, and no error.
    create = _keras(HybridOptimizer, max_skipped_steps=10**6, **options)
    return Contestant(create, ours=True)


_SGD = Contestant(
    _keras(optimizers.SGD, momentum=0.9, nesterov=True), (0.03, 3.0)
)
_ADAMW = Contestant(_keras(optimizers.AdamW))
CONTESTANTS = {
    "SGD-Nesterov": _SGD,
    "Adam": Contestant(lambda rate, _: optimizers.Adam(rate), decays=False),
    "Adam-AMSGrad": Contestant(_keras(optimizers.AdamW, amsgrad=True)),
    "AdamW": _ADAMW,
    "Nadam": Contestant(_keras(optimizers.Nadam)),
    "Lion": Contestant(_keras(optimizers.Lion), (1e-4, 1e-2)),
    "Muon": Contestant(_muon),
    "ScheduleFreeAdamW": Contestant(
        _keras(optimizers.ScheduleFreeAdamW, warmup_steps=0), scheduled=False
    ),
    "SGD-Nesterov, averaged": _averaged(_SGD),
    "AdamW, averaged": _averaged(_ADAMW),
    "HybridOptimizer": _hybrid(),
    "HybridOptimizer, matrix": _hybrid(matrix_steps=True),
    "HybridOptimizer, matrix, averaged": _hybrid(matrix_steps=True, **AVERAGED),
}
