"""One trial of the segmentation race: a training."""

import functools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from kbp import data, export, graph, metrics
from kbp.benchmarks.segmentation.networks import unet_plus_plus
from kbp.data.datasets import dsb2018, isbi2012
from kbp.losses import DiceCrossEntropy
from kbp.models import PyramidBPNet, UNet
from kbp.optimizers import HybridOptimizer, refresh_batch_norm
from kbp.optimizers.groups import decay_kernels_alone
from kbp.optimizers.schedules import warmup_cosine
from kbp.quantization import quantize_aware
from kbp.sparsity.channels.cost import multiply_adds


@dataclass(frozen=True)
class Protocol:
    """The settings that all trials of a race share.

    Attributes:
        crop_size: height and width of the training crops, in pixels; networks
            are evaluated on whole images.
        batch_size: crops in a batch.
        steps: number of training steps, and the length of the schedule.
        warmup: share of the steps in which the learning rate rises linearly;
            it falls to 0 along a cosine in the rest.
        learning_rate: its peak; of 0.003, 0.01 and 0.03 the best of
            Pyramid-BPNet, and within 0.001 of the best of U-Net 16.
        weight_decay: decoupled.
        ema_momentum: momentum of the moving average of the weights, which is
            evaluated.
        calibration_images: number of training images that set the int8 ranges.
        seeds: number of seeds on a data set without folds; a data set with
            folds has one trial for each fold.
    """

    crop_size: int = 128
    batch_size: int = 16
    steps: int = 400
    warmup: float = 0.1
    learning_rate: float = 0.01
    weight_decay: float = 0.01
    ema_momentum: float = 0.98
    calibration_images: int = 8
    seeds: int = 3


@dataclass(frozen=True)
class Trial:
    """One training: a network on a data set, with a seed.

    Attributes:
        network: name of one of `NETWORKS`.
        data: name of one of `FOLDS`.
        seed: of weights, batches and augmentation; also the fold, if the data
            set has folds.
        split: the examples to evaluate on, `"validation"` or `"test"`.
    """

    network: str
    data: str
    seed: int
    split: str = "test"


@dataclass(frozen=True)
class Network:
    """A network of the race.

    Attributes:
        build: `build(input_shape, num_classes) -> model`.
        ours: whether it is kbp's.
    """

    build: Callable
    ours: bool = False


NETWORKS = {
    "Pyramid-BPNet": Network(
        functools.partial(PyramidBPNet, head="segmentation", size="small"),
        ours=True,
    ),
    "U-Net 16": Network(functools.partial(UNet, width=16)),
    "U-Net 32": Network(functools.partial(UNet, width=32)),
    "U-Net++ 16": Network(functools.partial(unet_plus_plus, width=16)),
    "Attention U-Net 16": Network(
        functools.partial(UNet, width=16, gates=True)
    ),
}
FOLDS = {"dsb2018": None, "isbi2012": isbi2012.FOLDS}


class Trainer:
    """Runs trials on the two data sets.

    Args:
        protocol: the settings that they share.
        data_dir: the folder that holds the data sets.
        folder: for .tflite files.
    """

    def __init__(self, protocol: Protocol, data_dir: str | None, folder: Path):
        self.protocol, self.folder = protocol, Path(folder)
        self.data_dir = data_dir
        for name in FOLDS:  # missing data is reported at once
            self.splits(name, 0)

    def splits(self, name: str, seed: int) -> data.Splits:
        """Load a data set; if it has folds, the seed is the fold."""
        if FOLDS[name]:
            return isbi2012.load(self.data_dir, fold=seed)
        return dsb2018.load(self.data_dir)

    def run(self, trial: Trial) -> dict:
        """Train once.

        Returns:
            The trial; `dice` and `iou` of each image; `pooled`, the Dice
            coefficient of all pixels; `parameters`, `multiply_adds` of a whole
            image; `step_seconds`, processor time of a training step; and
            `files`: of float32 and int8 the name, `bytes` and `dice`.
        """
        keras.backend.clear_session()
        keras.utils.set_random_seed(trial.seed)
        splits = self.splits(trial.data, trial.seed)
        examples = getattr(splits, trial.split)
        build, classes = NETWORKS[trial.network].build, len(splits.class_names)
        size = self.protocol.crop_size
        small = build((size, size, splits.input_shape[-1]), classes)
        seconds = self.fit(small, splits.train, trial.seed)
        model = build(splits.input_shape, classes)
        model.set_weights(small.get_weights())
        predicted = _predict(model.predict_on_batch, examples)
        calls = graph.nodes(graph.flatten(model))
        return {
            **asdict(trial),
            **self.scores(examples, predicted, classes),
            "parameters": model.count_params(),
            "multiply_adds": sum(map(multiply_adds, calls)),
            "step_seconds": seconds,
            "files": self.export(trial, model, splits, examples),
        }

    def fit(self, model, examples, seed) -> float:
        """Train a network; return the processor seconds of a step."""
        mine = self.protocol
        schedule = warmup_cosine(
            mine.learning_rate,
            steps=mine.steps,
            warmup_steps=round(mine.warmup * mine.steps),
        )
        optimizer = HybridOptimizer(
            schedule,
            weight_decay=mine.weight_decay,
            matrix_steps=True,
            use_ema=True,
            ema_momentum=mine.ema_momentum,
        )
        decay_kernels_alone(optimizer, model)
        model.compile(optimizer, DiceCrossEntropy())
        batches = data.training_batches(
            examples,
            mine.batch_size,
            seed=seed,
            augment=data.deform(
                crop_size=mine.crop_size,
                flip=True,
                rotation=15.0,
                zoom=0.2,
                elastic=2.0,
                intensity=0.2,
            ),
        )
        start = time.process_time()
        model.fit(batches, steps_per_epoch=mine.steps, shuffle=False, verbose=0)
        seconds = (time.process_time() - start) / mine.steps
        # `fit` ends with the averaged weights; BatchNormalization needs the
        # statistics that belong to them.
        refresh_batch_norm(model, batches.take(20))
        return seconds

    def scores(self, examples, predicted, classes) -> dict:
        """Return the scores of predicted masks."""
        dice, iou = (
            [
                _score(kind(classes), *pair)
                for pair in _images(examples, predicted)
            ]
            for kind in (metrics.Dice, metrics.IoU)
        )
        pooled = metrics.Dice(classes, per_image=False)
        for pair in _images(examples, predicted):
            pooled.update_state(*pair)
        return {"dice": dice, "iou": iou, "pooled": float(pooled.result())}

    def export(self, trial, model, splits, examples) -> dict:
        """Write the .tflite files, and return their names, sizes and scores."""
        words = f"{trial.network} {trial.data} {trial.seed}".replace(" ", "_")
        images = splits.train.inputs[: self.protocol.calibration_images]
        quantized = quantize_aware(
            model,
            np.split(images, len(images)),
            calibration_examples=len(images),
        )
        files = {}
        for dtype, exported in (("float32", model), ("int8", quantized)):
            path = self.folder / f"{words}.{dtype}.tflite"
            export.to_tflite(exported, path)
            predicted = _predict(export.Runner(path).predict, examples)
            classes = len(splits.class_names)
            files[dtype] = {
                "name": path.name,
                "bytes": path.stat().st_size,
                "dice": self.scores(examples, predicted, classes)["dice"],
            }
        return files


def _predict(predict, examples):
    """Return the predicted classes of each image, one image at a time."""
    return np.concatenate(
        [predict(image[None]).argmax(axis=-1) for image in examples.inputs]
    )


def _images(examples, predicted):
    for index in range(len(examples)):
        yield examples.labels[index : index + 1], predicted[index : index + 1]


def _score(metric, true, found):
    metric.update_state(true, found)
    return float(metric.result())
