"""One trial of the optimizer race: a training."""

import contextlib
import time
from dataclasses import asdict, dataclass

import keras
import numpy as np

from kbp.benchmarks.core.images import Images, accuracy, first
from kbp.benchmarks.optimizers.contestants import CONTESTANTS, HEAD
from kbp.optimizers import averaged_weights
from kbp.optimizers.groups import decay_kernels_alone
from kbp.optimizers.schedules import warmup_cosine


@dataclass(frozen=True)
class Protocol:
    """The settings that all trials of a race share.

    Attributes:
        width: channels of the network's first stage.
        batch_size: images in a batch.
        steps: number of training steps, and the length of the schedule.
        warmup: share of the steps in which the learning rate rises linearly;
            it falls to 0 along a cosine in the rest.
        evaluate_every: number of steps between two evaluations.
        curve_images: number of images in an evaluation.
        target: accuracy to reach, in [0, 1], fixed before the race.
        decays: lowest and highest product of peak learning rate and weight
            decay, the same for all.
        trials: number of points in the search of each optimizer.
        seeds: number of seeds at the best point.
    """

    width: int = 16
    batch_size: int = 512
    steps: int = 264
    warmup: float = 0.1
    evaluate_every: int = 12
    curve_images: int = 2000
    target: float = 0.64
    decays: tuple[float, float] = (1e-5, 3e-3)
    trials: int = 12
    seeds: int = 5


@dataclass(frozen=True)
class Trial:
    """One training: an optimizer at a point, with a seed.

    Attributes:
        optimizer: name of a contestant.
        learning_rate: its peak.
        weight_decay: decoupled; 0 for none.
        seed: of the initial weights, the batches and the augmentation.
        split: what it is evaluated on: `"validation"` in the search, `"test"`
            at the best point.
    """

    optimizer: str
    learning_rate: float
    weight_decay: float
    seed: int
    split: str


def network(width: int, keras=keras, blocks: int = 1) -> keras.Model:
    """Return a residual network with BatchNorm for 32x32 images, 10 classes.

    A stem of stride 2, three stages (width, 2 width, 4 width channels; 16x16,
    8x8, 4x4 pixels), global pooling, a dense head: with one block in each
    stage 8 layers with weights along the longest path, after He et al., Deep
    Residual Learning for Image Recognition, 2016.

    Args:
        width: channels of the first stage.
        keras: the package that makes it, Keras or tf_keras.
        blocks: in each stage.
    """
    layers = keras.layers

    def convolve(x, filters, kernel_size, strides=1):
        x = layers.Conv2D(
            filters,
            kernel_size,
            strides,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
        )(x)
        # 0.99, Keras's default, lags behind in training this short.
        return layers.BatchNormalization(momentum=0.9)(x)

    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(convolve(inputs, width, 4, 2))
    for stage in range(3):
        filters = width * 2**stage
        for block in range(blocks):
            strides = 2 if stage > 0 and block == 0 else 1
            y = layers.ReLU()(convolve(x, filters, 3, strides))
            y = convolve(y, filters, 3)
            if strides > 1:
                x = convolve(x, filters, 1, strides)
            x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, name=HEAD)(x))


class Trainer:
    """Runs trials on CIFAR-10.

    Args:
        protocol: the settings that they share.
        data_dir: the folder that holds CIFAR-10.
    """

    def __init__(self, protocol: Protocol, data_dir: str | None):
        self.protocol = protocol
        self.images = Images(data_dir)

    def run(self, trial: Trial) -> dict:
        """Train a network once, and evaluate it.

        Returns:
            The trial; `curve`, the accuracy after each `evaluate_every` steps;
            `accuracy`, on the whole split at the end; `steps_to_target`, or
            `None`; `seconds` of processor time for one training step. A search
            stops when it reaches the target, any training when it diverges.
        """
        keras.backend.clear_session()
        keras.utils.set_random_seed(trial.seed)
        model = network(self.protocol.width)
        model.compile(
            self._optimizer(trial, model),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        # Where a training step builds it, Keras 3.15's ScheduleFreeAdamW
        # begins its average, and with it the weights, at zero.
        model.optimizer.build(model.trainable_variables)
        whole = self.images.splits[trial.split]
        part = first(whole, self.protocol.curve_images)
        batches = iter(
            self.images.batches(self.protocol.batch_size, seed=trial.seed)
        )
        every = self.protocol.evaluate_every
        curve, seconds = [], []
        for _ in range(self.protocol.steps // every):
            start = time.process_time()
            seen = [next(batches) for _ in range(every)]
            for batch in seen:
                loss = model.train_on_batch(*batch)[0]
            seconds.append((time.process_time() - start) / every)
            with _as_evaluated(model, seen):
                curve.append(accuracy(model, part))
            # The search needs no more than the steps; divergence ends a trial.
            reached = self._steps_to_target(curve) is not None
            if not np.isfinite(loss) or (reached and trial.split != "test"):
                break
        with _as_evaluated(model, seen):
            final = accuracy(model, whole)
        return {
            **asdict(trial),
            "curve": curve,
            "accuracy": final,
            "steps_to_target": self._steps_to_target(curve),
            "seconds": float(np.median(seconds)),
        }

    def _optimizer(self, trial, model):
        contestant = CONTESTANTS[trial.optimizer]
        steps = self.protocol.steps
        schedule = warmup_cosine(
            trial.learning_rate,
            # So long that the cosine stays at its top.
            steps=steps if contestant.scheduled else 2**31,
            warmup_steps=round(self.protocol.warmup * steps),
        )
        optimizer = contestant.create(schedule, trial.weight_decay or None)
        decay_kernels_alone(optimizer, model)
        return optimizer

    def _steps_to_target(self, curve):
        for i, reached in enumerate(curve, start=1):
            if reached >= self.protocol.target:
                return i * self.protocol.evaluate_every
        return None


def _as_evaluated(model, seen):
    # Averages, if there are any, with the statistics of the last batches.
    if model.optimizer.use_ema:
        return averaged_weights(model, seen[-4:])
    return contextlib.nullcontext()
