"""The sections that every recipe may have, as frozen dataclasses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kbp._utils.config import choice, number, parse
from kbp.recipes.federated import FederatedRecipe
from kbp.recipes.monitor import MonitorRecipe
from kbp.recipes.training import OptimizerRecipe, TrainingRecipe

DATA_SET = "digits"  # where [data] names none
# As in kbp.layers and kbp.sparsity, which need Keras.
GRANULARITIES = ("element", "channel")
BUDGETS = ("adaptive", "uniform", "knapsack")
MEASURES = ("masks", "parameters", "multiply_adds", "latency")


@dataclass(frozen=True)
class SparsityRecipe:
    """Section `[sparsity]`: DTM masks; a target of 0 leaves them out.

    With the granularity "channel", the channels leave the network. The target
    is a share of the masked weights or channels, or by `measure` of what the
    whole network has or takes; "latency" is that of a file of `latency_dtype`
    on this machine, as `kbp.export.latency_table` finds it.

    Of a network that is trained already, `scores` may be "taylor", by which
    channels are worth what the loss would lose with them. There at least the
    share `branches` of the measure leaves as whole residual branches, before
    channels make up the rest of the target.
    """

    target: float = number(0.0, 0, below=1)
    granularity: str = choice("element", GRANULARITIES)
    measure: str = choice("masks", MEASURES)
    latency_dtype: str = choice("float32", ("float32", "int8"))
    budget: str = choice("adaptive", BUDGETS)
    multiple_of: int = number(1, 1, 4096)
    scores: str = choice("magnitude", ("magnitude", "taylor"))
    branches: float = number(0.0, 0, below=1)
    begin: float = number(0.1, 0, below=1)
    end: float = number(0.7, above=0, high=1)
    skip: tuple[str, ...] = ()


@dataclass(frozen=True)
class EnsembleRecipe:
    """Section `[ensemble]`: several networks whose outputs are combined.

    Each of the `members` is trained by the recipe with a seed of its own, and
    with `bootstrap` on examples that are drawn from the training split, with
    replacement. What leaves is one model with the mean of their outputs, or the
    share of their votes for each class. To `distill`, one network of the recipe
    is trained on the ensemble's outputs as well as on the labels, and leaves.
    """

    members: int = number(0, 0, 1000)
    bootstrap: bool = True
    combine: str = choice("mean", ("mean", "vote"))
    distill: bool = False


@dataclass(frozen=True)
class QuantizationRecipe:
    """Section `[quantization]`.

    After 0 epochs nothing is trained on, and the ranges are those of the
    calibration. `skip` names layers that stay in float; `float_attention`
    leaves the products of attention layers there, which LiteRT computes faster
    than in integers. `int16` names Dense layers between layers in float that
    are to read and give 16 bits. If it is not `enabled`, there is no int8 file.
    """

    enabled: bool = True
    epochs: int = number(2, 0, 1_000_000)
    learning_rate: float = number(1e-4, high=1e12, above=0)
    calibration_examples: int = number(256, 1, 1_000_000)
    skip: tuple[str, ...] = ()
    int16: tuple[str, ...] = ()
    float_attention: bool = False


@dataclass(frozen=True)
class ExportRecipe:
    """Section `[export]`.

    `license`, `author` and `version` are what `.tflite` files say of the model.
    """

    allow_float: tuple[str, ...] = ()
    num_threads: int = number(1, 1, 64)
    benchmark_rounds: int = number(30, 1, 1_000_000)
    license: str = ""
    author: str = ""
    version: str = ""


# Sections that every recipe may have, besides `model`, `data` and `task`.
COMMON = {
    "optimizer": OptimizerRecipe,
    "sparsity": SparsityRecipe,
    "training": TrainingRecipe,
    "monitor": MonitorRecipe,
    "ensemble": EnsembleRecipe,
    "federated": FederatedRecipe,
    "quantization": QuantizationRecipe,
    "export": ExportRecipe,
}


def check_common(sections: Mapping[str, Any]) -> None:
    """Check the keys and values of those of some sections that are `COMMON`.

    Args:
        sections: keys and values of each section, by its name.

    Raises:
        UserError: a key is unknown, or a value has the wrong type or range.
    """
    for name, kind in COMMON.items():
        if isinstance(values := sections.get(name), Mapping):
            parse(kind, name, values)
