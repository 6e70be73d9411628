"""How the networks of the race from a trained network are trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kbp import export, losses
from kbp.benchmarks.core.images import Images
from kbp.benchmarks.pruning.trial import Trial
from kbp.optimizers import HybridOptimizer
from kbp.optimizers.groups import decay_kernels_alone
from kbp.optimizers.schedules import warmup_cosine
from kbp.optimizers.summing import steps_of
from kbp.training.checkpoint import Checkpoints

SAVE_EVERY = 176  # steps of a training from new weights, which takes an hour


@dataclass(frozen=True)
class Protocol:
    """The settings that all trials of a race share.

    Attributes:
        width: channels of the network's first stage.
        blocks: residual blocks in each of its stages.
        batch_size: images in a batch.
        dense_steps: of the training of the dense network.
        steps: of the training that prunes it.
        learning_rate: its peak in the dense training.
        pruning_rate: its peak in the training that prunes.
        warmup: share of the steps in which the learning rate rises linearly;
            it falls to 0 along a cosine in the rest.
        weight_decay: decoupled.
        distillation: weight of the divergence from the dense network's outputs
            in the loss of the trainings that prune.
        temperature: of that divergence.
        end: share of the training that prunes after which gradual methods have
            reached the level.
        rounds: of the Taylor method, of as many prunings.
        score_steps: batches of which Taylor scores are the means, and which
            tell what a branch is worth.
        multiple_of: what the channels that stay are rounded to.
        calibration_batches: training batches that set the int8 ranges.
        speedups: of the dense network's float32 latency.
        zeros: shares of zeros among the weights.
        seeds: number of seeds at each level.
    """

    width: int = 24
    blocks: int = 3
    batch_size: int = 256
    dense_steps: int = 18 * 176
    steps: int = 10 * 176
    learning_rate: float = 0.02
    pruning_rate: float = 0.02
    warmup: float = 0.1
    weight_decay: float = 0.02
    distillation: float = 4.0
    temperature: float = 2.0
    end: float = 0.15
    rounds: int = 10
    score_steps: int = 30
    multiple_of: int = 8
    calibration_batches: int = 16
    speedups: tuple[float, ...] = (2.0, 3.0, 5.0)
    zeros: tuple[float, ...] = (0.8, 0.9)
    seeds: int = 3


class Training:
    """Trains the models of all methods in the same way.

    Args:
        protocol: of the race.
        images: to train on.
        trial: the method, the level and the seed.
        teacher: the dense network, `None` while it trains.
        outputs: what the dense network gives for the batches of a training
            that prunes, `(steps, batch, classes)`. All methods of a seed see
            the same batches, so it is asked only once.
        table: of latencies of the dense network.
        folder: for checkpoints of a training from new weights.
    """

    def __init__(
        self,
        protocol: Protocol,
        images: Images,
        trial: Trial,
        teacher: keras.Model | None = None,
        outputs: np.ndarray | None = None,
        table: export.LatencyTable | None = None,
        *,
        folder: Path,
    ):
        self.protocol, self.images, self.trial = protocol, images, trial
        self.teacher, self.outputs, self.table = teacher, outputs, table
        self.folder = folder

    @property
    def milliseconds(self) -> float:
        """Latency to reach, as the table predicts."""
        whole: float = self.table.predict(self.teacher)  # type: ignore
        return whole / self.trial.level

    def batches(self, step: int = 0) -> tf.data.Dataset:
        """Return the batches of a training that prunes, from a step on.

        The targets are those of `TaughtLoss`.
        """
        given = tf.data.Dataset.from_tensor_slices(self.outputs[step:])  # type: ignore
        weight = self.protocol.distillation
        return tf.data.Dataset.zip(self._images(step), given).map(
            lambda images, outputs: (
                images[0],
                _targets(images[1], weight, outputs),
            )
        )

    def new_batches(self, step: int, *, taught: bool) -> tf.data.Dataset:
        """Return the batches of a training from new weights, from a step on.

        Args:
            step: of the training.
            taught: whether those of a training that prunes come after.
        """
        nothing = tf.zeros((self.protocol.batch_size, 10))
        left = max(0, self.protocol.dense_steps - step)
        untaught = (
            self._images(step)
            .take(left)
            .map(lambda x, labels: (x, _targets(labels, 0.0, nothing)))
        )
        if not taught:
            return untaught
        done = max(0, step - self.protocol.dense_steps)
        return untaught.concatenate(self.batches(done))

    def _images(self, step: int = 0) -> tf.data.Dataset:
        size, seed = self.protocol.batch_size, self.trial.seed
        return self.images.batches(size, seed=seed, start_step=step)

    def record(self, model: keras.Model) -> np.ndarray:
        """Return the `outputs` of a model."""
        return np.stack(
            [
                model.predict_on_batch(images)
                for images, _ in self._images().take(self.protocol.steps)
            ]
        )

    def compile(
        self, model: keras.Model, step: int, steps: int, peak: float
    ) -> None:
        """Compile a model for a part of a training.

        Args:
            model: to train, with an empty momentum.
            step: of the training, at which it begins.
            steps: of the whole training.
            peak: of the learning rate.
        """
        protocol = self.protocol
        optimizer = HybridOptimizer(
            warmup_cosine(
                peak, steps=steps, warmup_steps=round(protocol.warmup * steps)
            ),
            matrix_steps=True,
            weight_decay=protocol.weight_decay,
            # A diverged training is a result, and no error.
            max_skipped_steps=10**6,
        )
        decay_kernels_alone(optimizer, model)
        optimizer.iterations.assign(step)
        model.compile(optimizer, TaughtLoss(protocol.temperature))

    def fit(
        self,
        model: keras.Model,
        *callbacks: keras.callbacks.Callback,
        start: float = 0.0,
        stop: float = 1.0,
    ) -> None:
        """Train a model during a part of a training that prunes.

        Args:
            model: to compile and to train.
            *callbacks: of the method.
            start: share of the training that is already done.
            stop: share of the training after which to stop.
        """
        steps = self.protocol.steps
        first, last = round(start * steps), round(stop * steps)
        self.compile(model, first, steps, self.protocol.pruning_rate)
        _fit(model, self.batches(first).take(last - first), *callbacks)

    def fit_new(self, model: keras.Model, *, taught: bool) -> keras.Model:
        """Train a model from new weights, or go on where it was stopped.

        Args:
            model: to train.
            taught: whether it goes on with the batches and the teacher of a
                training that prunes.

        Returns:
            The trained model, which may be another one.
        """
        protocol, trial = self.protocol, self.trial
        steps = protocol.dense_steps + taught * protocol.steps
        checkpoints = Checkpoints(
            self.folder, f"{trial.method}-{trial.level:g}-{trial.seed}", keep=1
        )
        done = 0
        if found := checkpoints.load():
            model, _ = found
            done = steps_of(model.optimizer)
            model.compile(model.optimizer, TaughtLoss(protocol.temperature))
        else:
            self.compile(model, 0, steps, protocol.learning_rate)

        def save(batch: int, logs: Any) -> None:
            if (done + batch + 1) % SAVE_EVERY == 0:
                checkpoints.save(model, {})

        _fit(
            model,
            self.new_batches(done, taught=taught),
            keras.callbacks.LambdaCallback(on_train_batch_end=save),
        )
        return model


@keras.saving.register_keras_serializable(package="kbp_benchmarks")
class TaughtLoss(keras.losses.Loss):
    """Cross-entropy, and a divergence from a teacher's recorded outputs.

    Each row of the targets holds the label, the weight of the divergence and
    the teacher's logits.

    Args:
        temperature: of the divergence.
    """

    def __init__(self, temperature: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.divergence = losses.Distillation(temperature=temperature)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        label, weight, teacher = y_true[:, 0], y_true[:, 1], y_true[:, 2:]
        own = keras.losses.sparse_categorical_crossentropy(
            label, y_pred, from_logits=True
        )
        return own + weight * self.divergence.call(teacher, y_pred)

    def get_config(self) -> dict:
        return super().get_config() | {
            "temperature": self.divergence.temperature
        }


def _targets(labels: tf.Tensor, weight: float, outputs: tf.Tensor) -> tf.Tensor:
    label = tf.cast(labels, tf.float32)[:, None]
    return tf.concat([label, tf.fill(tf.shape(label), weight), outputs], axis=1)


def _fit(
    model: keras.Model,
    batches: tf.data.Dataset,
    *callbacks: keras.callbacks.Callback,
) -> None:
    if batches.cardinality() == 0:
        return
    # The batches are shuffled already.
    model.fit(batches, callbacks=[*callbacks], shuffle=False, verbose=0)
