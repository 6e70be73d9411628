"""The sections of a recipe, as frozen dataclasses."""

import typing
from dataclasses import dataclass, field

from kbp import models
from kbp.data.datasets import ett
from kbp.data.formats import csv_series
from kbp.errors import UserError
from kbp.layers.dtm import GRANULARITIES
from kbp.sparsity import BUDGETS

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")
ARCHITECTURES = {
    "pyramid_bpnet": models.PyramidBPNet,
    "bp_transformer": models.BPTransformer,
}


def _number(default, low=None, high=None, *, below=None, above=None):
    """Declare a number with its range; `below` and `above` are exclusive."""
    limits = {"low": low, "high": high, "below": below, "above": above}
    return field(default=default, metadata=limits)


def _choice(default, choices):
    return field(default=default, metadata={"choices": choices})


@dataclass(frozen=True)
class ModelRecipe:
    """Section `[model]`: an architecture and its builder's arguments."""

    architecture: str = _choice("pyramid_bpnet", tuple(ARCHITECTURES))
    arguments: dict[str, typing.Any] = field(default_factory=dict)

    def build(self, input_shape, num_outputs, **head):
        """Build the Keras model, with a head other than the usual one."""
        builder = ARCHITECTURES[self.architecture]
        try:
            return builder(
                tuple(input_shape), num_outputs, **self.arguments, **head
            )
        except ValueError as error:
            raise UserError(f"[model] {error}") from error


@dataclass(frozen=True)
class ImagesRecipe:
    """Section `[data]` of images with a label each."""

    kind: str = "images"
    name: str = _choice("digits", ("digits", "cifar10"))
    layout: str = _choice("image", ("image", "rows"))
    image_size: int = _number(32, 8, 256)
    validation_fraction: float = _number(0.1, 0, below=0.5)
    test_fraction: float = _number(0.2, above=0, below=1)
    split_seed: int = _number(0, 0, 2**32 - 1)
    rotation: float = _number(0.0, 0, 180)
    shift: float = _number(0.0, 0, 0.5)
    zoom: float = _number(0.0, 0, 0.5)
    flip: bool = False


@dataclass(frozen=True)
class ImageMasksRecipe:
    """Section `[data]` of images with a mask each.

    The name "folders" stands for the folders `images` and `masks`, split by
    hash, by fold, by subfolders `train`, `validation` and `test`, or by files
    `train.txt`, ... in the folder `lists`.
    """

    kind: str = "image_masks"
    name: str = _choice("folders", ("folders", "dsb2018", "isbi2012"))
    images: str = ""
    masks: str = ""
    color: bool = False
    class_names: tuple[str, ...] = ("background", "foreground")
    mask_values: tuple[int, ...] = ()
    split: str = _choice("hash", ("hash", "fold", "folders", "lists"))
    fold: int = _number(0, 0)
    folds: int = _number(5, 2)
    lists: str = ""
    validation_fraction: float = _number(0.1, 0, below=0.5)
    test_fraction: float = _number(0.1, above=0, below=0.5)
    tile_size: int = _number(0, 0)
    flip: bool = False
    rotation: float = _number(0.0, 0, 180)
    zoom: float = _number(0.0, 0, 0.5)
    elastic: float = _number(0.0, 0)
    intensity: float = _number(0.0, 0, 1)


@dataclass(frozen=True)
class CsvSeriesRecipe:
    """Section `[data]` of series in a CSV file.

    They are split in time: by `validation_fraction` and `test_fraction`, or at
    `rows` or `dates`, before which training, validation and test end.
    """

    kind: str = "csv_series"
    name: str = _choice("file", ("file", *ett.ROWS_OF_AN_HOUR))
    file: str = ""
    time_column: str = ""
    columns: tuple[str, ...] = ()
    missing: str = _choice("refuse", csv_series.MISSING)
    lookback: int = _number(336, 1)
    horizon: int = _number(96, 1)
    split: str = _choice("fractions", ("fractions", "rows", "dates"))
    validation_fraction: float = _number(0.1, 0, below=0.5)
    test_fraction: float = _number(0.2, above=0, below=0.5)
    rows: tuple[int, ...] = ()
    dates: tuple[str, ...] = ()


DATA_KINDS = {
    "images": ImagesRecipe,
    "image_masks": ImageMasksRecipe,
    "csv_series": CsvSeriesRecipe,
}
DataRecipe = ImagesRecipe | ImageMasksRecipe | CsvSeriesRecipe


@dataclass(frozen=True)
class LossRecipe:
    """Section `[loss]`: `error` of forecasts, the rest of classes.

    The latter is of `kbp.losses.DiceCrossEntropy`.
    """

    error: str = _choice("huber", ("huber", "mse", "mae"))
    cross_entropy_weight: float = _number(1.0, 0)
    dice_weight: float = _number(0.0, 0)
    focal_gamma: float = _number(0.0, 0)
    alpha: float = _number(0.5, 0)
    beta: float = _number(0.5, 0)
    smooth: float = _number(1.0, 0)
    class_weights: tuple[float, ...] = ()
    per_image: bool = False


@dataclass(frozen=True)
class LinearSkipRecipe:
    """Section `[linear_skip]`: where a forecast's linear skip starts.

    With a penalty of 0 it starts anywhere; else see
    `kbp.models.start_at_ridge`.
    """

    lookbacks: tuple[int, ...] = ()
    penalty: float = _number(1.0, 0)
    memory: float = _number(96.0, above=0)
    trainable: bool = False


@dataclass(frozen=True)
class OptimizerRecipe:
    """Section `[optimizer]`: HybridOptimizer, warm-up, then cosine decay."""

    learning_rate: float = _number(1e-3, above=0)
    warmup: float = _number(0.1, 0, below=1)
    weight_decay: float = _number(0.0, 0)
    matrix_steps: bool = False
    beta_1: float = _number(0.9, 0, below=1)
    beta_2: float = _number(0.999, 0, below=1)


@dataclass(frozen=True)
class SparsityRecipe:
    """Section `[sparsity]`: DTM masks; a target of 0 leaves them out.

    With the granularity "channel", the channels leave the network.
    """

    target: float = _number(0.0, 0, below=1)
    granularity: str = _choice("element", GRANULARITIES)
    budget: str = _choice("adaptive", BUDGETS)
    multiple_of: int = _number(1, 1)
    begin: float = _number(0.1, 0, below=1)
    end: float = _number(0.7, above=0, high=1)
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
    model is quantized, and weights stay float32.
    """

    epochs: int = _number(10, 0)
    batch_size: int = _number(32, 1)
    seed: int = _number(0, 0, 2**31 - 1)
    strategy: str = _choice("auto", STRATEGIES)
    steps_per_execution: int = _number(1, 1)
    synchronize_batch_norm: bool = False
    precision: str = _choice("float32", ("float32", "mixed_bfloat16"))
    keep_best: bool = False
    keep_checkpoints: int = _number(2, 1)


@dataclass(frozen=True)
class QuantizationRecipe:
    """Section `[quantization]`.

    After 0 epochs nothing is trained on, and the ranges are those of the
    calibration. `float_attention` leaves the products of attention layers in
    float32, which LiteRT computes faster than in integers.
    """

    epochs: int = _number(2, 0)
    learning_rate: float = _number(1e-4, above=0)
    calibration_batches: int = _number(8, 1)
    float_attention: bool = False


@dataclass(frozen=True)
class ExportRecipe:
    """Section `[export]`."""

    allow_float: tuple[str, ...] = ()
    num_threads: int = _number(1, 1, 64)
    benchmark_rounds: int = _number(30, 1)
