"""The sections that every recipe may have, as frozen dataclasses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kbp._utils.config import choice, number, parse

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")
# As in kbp.layers and kbp.sparsity, which need Keras.
GRANULARITIES = ("element", "channel")
BUDGETS = ("adaptive", "uniform", "knapsack")
MEASURES = ("masks", "parameters", "multiply_adds", "latency")


@dataclass(frozen=True)
class OptimizerRecipe:
    """Section `[optimizer]`: HybridOptimizer, warm-up, then cosine decay."""

    learning_rate: float = number(1e-3, high=1e12, above=0)
    warmup: float = number(0.1, 0, below=1)
    weight_decay: float = number(0.0, 0, 1e6)
    matrix_steps: bool = False
    beta_1: float = number(0.9, 0, below=1)
    beta_2: float = number(0.999, 0, below=1)


@dataclass(frozen=True)
class SparsityRecipe:
    """Section `[sparsity]`: DTM masks; a target of 0 leaves them out.

    With the granularity "channel", the channels leave the network. The target
    is a share of the masked weights or channels, or by `measure` of what the
    whole network has or takes; "latency" is that of a file of `latency_dtype`
    on this machine, as `kbp.export.latency_table` finds it.
    """

    target: float = number(0.0, 0, below=1)
    granularity: str = choice("element", GRANULARITIES)
    measure: str = choice("masks", MEASURES)
    latency_dtype: str = choice("float32", ("float32", "int8"))
    budget: str = choice("adaptive", BUDGETS)
    multiple_of: int = number(1, 1, 4096)
    begin: float = number(0.1, 0, below=1)
    end: float = number(0.7, above=0, high=1)
    skip: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingRecipe:
    """Section `[training]`.

    After 0 epochs the model is what it starts as, such as a forecast in closed
    form. With `keep_best` each stage ends with the weights whose validation
    loss was the least after an epoch, or at its start. Of the checkpoints of a
    stage the last `keep_checkpoints` stay. The batch size is that of all
    replicas together. `steps_per_execution` are run at once, which spares a TPU
    waiting; in the precision "mixed_bfloat16" it multiplies faster until the
    model is quantized, and weights stay float32. A network that was trained
    before stays as it is for `frozen_epochs`, which only its new head trains,
    at `frozen_learning_rate`; `epochs` of the whole model follow. A model that
    was given to `kbp.compress` is the teacher of what is made of it, with
    `distillation` as the factor of what they differ by in the loss. Of several
    `starts`, trained with the seeds that follow `seed`, the one with the least
    validation loss stays.
    """

    epochs: int = number(10, 0, 1_000_000)
    batch_size: int = number(32, 1, 1_000_000)
    seed: int = number(0, 0, 2**31 - 1)
    strategy: str = choice("auto", STRATEGIES)
    steps_per_execution: int = number(1, 1, 1_000_000)
    synchronize_batch_norm: bool = False
    precision: str = choice("float32", ("float32", "mixed_bfloat16"))
    keep_best: bool = False
    keep_checkpoints: int = number(2, 1, 1_000_000)
    frozen_epochs: int = number(0, 0, 1_000_000)
    frozen_learning_rate: float = number(1e-3, high=1e12, above=0)
    distillation: float = number(0.0, 0, 1e6)
    starts: int = number(1, 1, 1000)


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
    "ensemble": EnsembleRecipe,
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
