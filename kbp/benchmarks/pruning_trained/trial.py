"""One trial of the race from a trained network: a training that prunes."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras

from kbp import export, graph
from kbp.benchmarks.core.images import Images, accuracy
from kbp.benchmarks.optimizers.trial import network
from kbp.benchmarks.pruning.methods import zeros
from kbp.benchmarks.pruning.trial import Trial, export_files
from kbp.benchmarks.pruning_trained.methods import DENSE, METHODS
from kbp.errors import UserError
from kbp.sparsity import multiply_adds
from kbp.training import distilled
from kbp.training.schedules import decay_kernels_alone, warmup_cosine

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
        momentum: of Nesterov's SGD.
        distillation: weight of the divergence from the dense network's outputs
            in the loss of all trainings but its own.
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
    batch_size: int = 128
    dense_steps: int = 24 * 352
    steps: int = 10 * 352
    learning_rate: float = 0.2
    pruning_rate: float = 0.05
    warmup: float = 0.1
    weight_decay: float = 1e-3
    momentum: float = 0.9
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
        table: of latencies of the dense network.
    """

    def __init__(
        self,
        protocol: Protocol,
        images: Images,
        trial: Trial,
        teacher: keras.Model | None,
        table: export.LatencyTable | None,
    ):
        self.protocol, self.images, self.trial = protocol, images, trial
        self.teacher, self.table = teacher, table

    @property
    def milliseconds(self) -> float:
        """Latency to reach, as the table predicts."""
        whole: float = self.table.predict(self.teacher)  # type: ignore
        return whole / self.trial.level

    def batches(self, step: int = 0) -> Any:
        """Return an endless data set from a step on."""
        size, seed = self.protocol.batch_size, self.trial.seed
        return self.images.batches(size, seed=seed, start_step=step)

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
        optimizer = keras.optimizers.SGD(
            warmup_cosine(
                peak, steps=steps, warmup_steps=round(protocol.warmup * steps)
            ),
            momentum=protocol.momentum,
            nesterov=True,
            weight_decay=protocol.weight_decay,
        )
        decay_kernels_alone(optimizer, model)
        optimizer.iterations.assign(step)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss)

    def fit(
        self,
        model: keras.Model,
        *callbacks: keras.callbacks.Callback,
        start: float = 0.0,
        stop: float = 1.0,
        steps: int | None = None,
        peak: float | None = None,
    ) -> None:
        """Train a model during a part of a training.

        Args:
            model: to compile and to train.
            *callbacks: of the method.
            start: share of the training that is already done.
            stop: share of the training after which to stop.
            steps: of the whole training; by default of one that prunes.
            peak: of its learning rate; by default as for pruning.
        """
        protocol = self.protocol
        steps = steps or protocol.steps
        first, last = round(start * steps), round(stop * steps)
        self.compile(model, first, steps, peak or protocol.pruning_rate)
        teacher, weight = self.teacher or model, protocol.distillation
        with distilled(
            model,
            teacher,
            weight=0.0 if teacher is model else weight,
            temperature=protocol.temperature,
        ):
            model.fit(
                self.batches(first),
                steps_per_epoch=1 if last == first else last - first,
                callbacks=[*callbacks],
                shuffle=False,  # the batches are shuffled already
                verbose=0,
            )


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
        path = self.folder / f"{DENSE}-{trial.seed}.keras"
        if trial.method == DENSE:
            model = self._network()
            training = Training(self.protocol, self.images, trial, None, None)
            training.fit(
                model,
                steps=self.protocol.dense_steps,
                peak=self.protocol.learning_rate,
            )
            model.save(path)
        else:
            if not path.is_file():
                raise UserError(f"{path}: missing. Race into a new file.")
            dense = keras.saving.load_model(path, compile=False)
            training = Training(
                self.protocol, self.images, trial, dense, self.table
            )
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
