"""The sections `[optimizer]` and `[training]`, as frozen dataclasses."""

from dataclasses import dataclass

from kbp._utils.config import choice, number

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
AVERAGES = ("none", "ema", "tail")


@dataclass(frozen=True)
class OptimizerRecipe:
    """Section `[optimizer]`: its rule, its learning rate, and what is around.

    `name` is "hybrid" or one of Keras's, and `schedule` one of
    `kbp.optimizers.schedules`; each of them has keys of its own, and those that
    are not given are as Keras has them. `warmup` is a share of a stage's steps,
    `minimum_share` one of the learning rate; `step_size`, `period`,
    `patience` and `cooldown` count epochs. With `averaging` a stage ends with
    an average of its weights: "ema" forgets by `averaging_momentum`, "tail" is
    the mean from the share `averaging_begin` of its steps on.
    """

    name: str = "hybrid"
    learning_rate: float = number(1e-3, high=1e12, above=0)
    weight_decay: float = number(0.0, 0, 1e6)
    matrix_steps: bool | None = None
    beta_1: float | None = number(None, 0, below=1)
    beta_2: float | None = number(None, 0, below=1)
    momentum: float | None = number(None, 0, below=1)
    nesterov: bool | None = None
    rho: float | None = number(None, 0, below=1)
    epsilon: float | None = number(None, high=1, above=0)
    amsgrad: bool | None = None
    centered: bool | None = None
    schedule: str = "cosine"
    warmup: float = number(0.1, 0, below=1)
    step_size: int | None = number(None, 1, 1_000_000)
    decay_rate: float | None = number(None, above=0, below=1)
    period: int | None = number(None, 1, 1_000_000)
    period_factor: float | None = number(None, 1, 1000)
    peak_factor: float | None = number(None, high=1, above=0)
    power: float | None = number(None, high=100, above=0)
    minimum_share: float | None = number(None, 0, below=1)
    patience: int | None = number(None, 1, 1_000_000)
    min_delta: float | None = number(None, 0, 1e12)
    cooldown: int | None = number(None, 0, 1_000_000)
    clipnorm: float | None = number(None, high=1e12, above=0)
    global_clipnorm: float | None = number(None, high=1e12, above=0)
    clipvalue: float | None = number(None, high=1e12, above=0)
    gradient_accumulation_steps: int = number(1, 1, 1_000_000)
    averaging: str = choice("none", AVERAGES)
    averaging_momentum: float | None = number(None, above=0, below=1)
    averaging_begin: float | None = number(None, 0, below=1)


@dataclass(frozen=True)
class EarlyStopping:
    """Key `early_stopping` of `[training]`.

    A stage ends after `patience` epochs in which `monitor` was not better than
    before by `min_delta`, and with the weights of its best epoch. A monitor
    whose name tells of a loss or an error is to fall, any other to rise.
    """

    patience: int = number(10, 1, 1_000_000)
    monitor: str = "val_loss"
    min_delta: float = number(0.0, 0, 1e12)


@dataclass(frozen=True)
class TrainingRecipe:
    """Section `[training]`.

    After 0 epochs the model is what it starts as, such as a forecast in closed
    form. With `keep_best` each stage ends with the weights whose validation
    loss was the least after an epoch, or at its start. Of the checkpoints of a
    stage the last `keep_checkpoints` stay. The batch size is that of all
    replicas together. `steps_per_execution` are run at once, which spares a TPU
    waiting. In the precision "mixed_bfloat16" or "mixed_float16" a TPU or a GPU
    multiplies faster until the model is quantized, and weights stay float32;
    the second scales the loss. `rematerialize` spares memory: what layers
    compute within is computed again where gradients need it. A network that was
    trained before stays as it is for `frozen_epochs`, which only its new head
    trains, at `frozen_learning_rate`; `epochs` of the whole model follow. A
    model that was given to `kbp.compress` is the teacher of what is made of it,
    with `distillation` as the factor of what they differ by in the loss. By
    `label_smoothing` the cross-entropy of classes takes a share from the right
    one and gives it to all alike. Of several `starts`, trained with the seeds
    that follow `seed`, the one with the least validation loss stays.
    """

    epochs: int = number(10, 0, 1_000_000)
    batch_size: int = number(32, 1, 1_000_000)
    seed: int = number(0, 0, 2**31 - 1)
    strategy: str = choice("auto", STRATEGIES)
    steps_per_execution: int = number(1, 1, 1_000_000)
    synchronize_batch_norm: bool = False
    precision: str = choice("float32", PRECISIONS)
    keep_best: bool = False
    early_stopping: EarlyStopping | None = None
    keep_checkpoints: int = number(2, 1, 1_000_000)
    rematerialize: bool = False
    label_smoothing: float = number(0.0, 0, below=1)
    frozen_epochs: int = number(0, 0, 1_000_000)
    frozen_learning_rate: float = number(1e-3, high=1e12, above=0)
    distillation: float = number(0.0, 0, 1e6)
    starts: int = number(1, 1, 1000)
