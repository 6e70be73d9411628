"""The optimizers that race, each with its search range."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import optimizers

from kbp.optimizers import HybridOptimizer

HEAD = "head"  # the network's last layer, which Keras's Muon must be told
# Evaluated with averaged weights, which any Keras optimizer can keep.
AVERAGED = {"use_ema": True, "ema_momentum": 0.9}


@dataclass(frozen=True)
class Contestant:
    """An optimizer with the range in which its learning rate is searched.

    Attributes:
        create: `create(learning_rate, weight_decay) -> optimizer`; the
            learning rate is a schedule.
        learning_rates: lowest and highest peak; two decades for each.
        decays: whether weight decay is searched too.
        scheduled: whether it takes the cosine; if not, the learning rate stays
            at its peak after the warm-up.
        ours: whether it is kbp's.
    """

    create: Callable[..., keras.optimizers.Optimizer]
    learning_rates: tuple[float, float]
    decays: bool = True
    scheduled: bool = True
    ours: bool = False


def contestants() -> dict[str, Contestant]:
    """Return all optimizers of the race, by name."""
    peers = {
        "SGD-Nesterov": Contestant(
            lambda rate, decay: optimizers.SGD(
                rate, momentum=0.9, nesterov=True, weight_decay=decay
            ),
            (0.03, 3.0),
        ),
        "Adam": Contestant(
            lambda rate, decay: optimizers.Adam(rate),
            (1e-3, 1e-1),
            decays=False,
        ),
        "Adam-AMSGrad": Contestant(
            lambda rate, decay: optimizers.AdamW(
                rate, weight_decay=decay, amsgrad=True
            ),
            (1e-3, 1e-1),
        ),
        "AdamW": Contestant(
            lambda rate, decay: optimizers.AdamW(rate, weight_decay=decay),
            (1e-3, 1e-1),
        ),
        "Nadam": Contestant(
            lambda rate, decay: optimizers.Nadam(rate, weight_decay=decay),
            (1e-3, 1e-1),
        ),
        "Lion": Contestant(
            lambda rate, decay: optimizers.Lion(rate, weight_decay=decay),
            (1e-4, 1e-2),
        ),
        "Muon": Contestant(
            # As Keras ships it: convolution kernels, which are not 2-D, and the
            # head take its AdamW step, with a decay of their own.
            lambda rate, decay: optimizers.Muon(
                rate,
                weight_decay=decay,
                adam_weight_decay=decay,
                exclude_layers=[HEAD],
            ),
            (1e-3, 1e-1),
        ),
        "ScheduleFreeAdamW": Contestant(
            lambda rate, decay: optimizers.ScheduleFreeAdamW(
                rate, weight_decay=decay, warmup_steps=0
            ),
            (1e-3, 1e-1),
            scheduled=False,
        ),
    }
    averaged = {
        f"{name}, averaged": dataclasses.replace(
            peers[name],
            create=lambda rate, decay, peer=peers[name]: _averaged(
                peer.create(rate, decay)
            ),
        )
        for name in ("SGD-Nesterov", "AdamW")
    }
    ours = {
        name: Contestant(
            lambda rate, decay, options=options: HybridOptimizer(
                rate,
                weight_decay=decay,
                max_skipped_steps=10**6,  # a diverged trial is a miss
                **options,
            ),
            (1e-3, 1e-1),
            ours=True,
        )
        for name, options in {
            "HybridOptimizer": {},
            "HybridOptimizer, matrix": {"matrix_steps": True},
            "HybridOptimizer, matrix, averaged": {
                "matrix_steps": True,
                **AVERAGED,
            },
        }.items()
    }
    return peers | averaged | ours


def _averaged(optimizer):
    return type(optimizer).from_config({**optimizer.get_config(), **AVERAGED})
