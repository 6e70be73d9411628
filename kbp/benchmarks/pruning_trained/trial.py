"""One trial of the race from a trained network: a training that prunes."""

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kbp import export, graph, losses
from kbp._utils.files import write_atomically
from kbp.benchmarks.core.images import Images, accuracy
from kbp.benchmarks.optimizers.trial import network
from kbp.benchmarks.pruning.methods import zeros
from kbp.benchmarks.pruning.trial import Trial, export_files
from kbp.benchmarks.pruning_trained.methods import DENSE, METHODS
from kbp.errors import UserError
from kbp.optimizers import HybridOptimizer
from kbp.optimizers.groups import decay_kernels_alone
from kbp.optimizers.schedules import warmup_cosine
from kbp.sparsity import multiply_adds

TABLE = "latency_table.json"


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
        score_steps: batches of which Taylor scores are the means.
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
    steps: int = 6 * 176
    learning_rate: float = 0.02
    pruning_rate: float = 0.005
    warmup: float = 0.1
    weight_decay: float = 0.02
    distillation: float = 1.0
    temperature: float = 2.0
    end: float = 0.4
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
    """

    def __init__(
        self,
        protocol: Protocol,
        images: Images,
        trial: Trial,
        teacher: keras.Model | None = None,
        outputs: np.ndarray | None = None,
        table: export.LatencyTable | None = None,
    ):
        self.protocol, self.images, self.trial = protocol, images, trial
        self.teacher, self.outputs, self.table = teacher, outputs, table

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

    def dense_batches(self) -> tf.data.Dataset:
        """Return the batches of a training without a teacher."""
        nothing = tf.zeros((self.protocol.batch_size, 10))
        return (
            self._images()
            .take(self.protocol.dense_steps)
            .map(lambda x, labels: (x, _targets(labels, 0.0, nothing)))
        )

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

    def fit_new(self, model: keras.Model, *, taught: bool) -> None:
        """Train a model from new weights.

        Args:
            model: to compile and to train.
            taught: whether it goes on with the batches and the teacher of a
                training that prunes.
        """
        protocol = self.protocol
        steps, batches = protocol.dense_steps, self.dense_batches()
        if taught:
            steps += protocol.steps
            batches = batches.concatenate(self.batches())
        self.compile(model, 0, steps, protocol.learning_rate)
        _fit(model, batches)


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


class Trainer:
    """Runs trials on CIFAR-10.

    Args:
        protocol: the settings that they share.
        data_dir: the folder that holds CIFAR-10.
        folder: for .tflite files, the dense networks and the latencies.
    """

    def __init__(self, protocol: Protocol, data_dir: str | None, folder: Path):
        self.protocol = protocol
        self.images = Images(data_dir)
        self.folder = Path(folder)
        self.table = self._table()

    def _table(self) -> export.LatencyTable:
        """Return the dense network's latencies, which all processes share."""
        path = self.folder / TABLE
        if not path.exists():
            keras.backend.clear_session()
            export.latency_table(self._network()).save(path)
        return export.LatencyTable.load(path)

    def _network(self) -> keras.Model:
        return network(self.protocol.width, blocks=self.protocol.blocks)

    def run(self, trial: Trial) -> dict:
        """Train and prune a network once, and evaluate it.

        Returns:
            The trial; `accuracy` of the final network; `parameters`;
            `multiply_adds`; `zeros`, the share of them in the kernels that may
            get some; and, of networks with fewer channels or all, `files`: of
            each .tflite file its `name`, its `bytes` and, of int8, its
            `accuracy`; and `network`, from which the files can be exported
            again.

        Raises:
            UserError: the dense network of the seed is missing.
        """
        keras.backend.clear_session()
        keras.utils.set_random_seed(trial.seed)
        training = Training(self.protocol, self.images, trial)
        path = self.folder / f"{DENSE}-{trial.seed}.keras"
        outputs = path.with_suffix(".npy")
        if trial.method == DENSE:
            model = self._network()
            training.fit_new(model, taught=False)
            model.save(path)
            training.outputs = training.record(model)
            content = io.BytesIO()
            np.save(content, training.outputs)
            write_atomically(outputs, content.getvalue())
        else:
            for needed in (path, outputs):
                if not needed.is_file():
                    raise UserError(f"{needed}: missing. Race into a new file.")
            training.teacher = keras.saving.load_model(path, compile=False)
            training.outputs = np.load(outputs)
            training.table = self.table
            model = METHODS[trial.method].prune(training)
        result = {
            **asdict(trial),
            "accuracy": accuracy(model, self.images.splits[trial.split]),
            "parameters": model.count_params(),
            "multiply_adds": sum(map(multiply_adds, graph.nodes(model))),
            "zeros": zeros(model),
        }
        if trial.method == DENSE or METHODS[trial.method].structured:
            result["files"] = export_files(
                self.folder,
                trial,
                model,
                training.batches(),
                self.protocol.calibration_batches * self.protocol.batch_size,
                self.images.splits[trial.split],
            )
            result["network"] = model.to_json()
        return result
