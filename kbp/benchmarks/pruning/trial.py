"""One trial of the pruning race: a training."""

import statistics
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras

from kbp import export, graph, quantization
from kbp.benchmarks.core.images import Images, accuracy, file_accuracy, first
from kbp.benchmarks.optimizers.trial import network
from kbp.benchmarks.pruning.methods import METHODS, zeros
from kbp.data import Examples
from kbp.optimizers.groups import decay_kernels_alone
from kbp.optimizers.schedules import warmup_cosine
from kbp.sparsity.channels.cost import multiply_adds

TOLERANCE = 0.005  # by which a trial may miss its level


@dataclass(frozen=True)
class Protocol:
    """The settings that all trials of a race share.

    Attributes:
        width: channels of the network's first stage.
        batch_size: images in a batch.
        steps: number of training steps, and the length of the schedule.
        evaluate_every: number of steps between two points of the learning
            curve; it divides `steps`.
        curve_images: number of images on which such a point is evaluated.
        warmup: share of the steps in which the learning rate rises linearly;
            it falls to 0 along a cosine in the rest.
        learning_rate: its peak, the best of the network that is not pruned.
        weight_decay: decoupled, the best of the same network.
        momentum: of Nesterov's SGD.
        begin: share of the steps after which gradual methods begin to prune.
        end: share of the steps after which they have reached the level.
        cut: share of the steps after which one-shot methods prune; rounded to
            a multiple of `evaluate_every`.
        tfmot_frequency: steps from one pruning of TFMOT to the next.
        multiple_of: what the channels that structured methods keep are
            rounded to.
        calibration_batches: training batches that set the int8 ranges.
        levels: shares to prune.
        seeds: number of seeds at each level.
    """

    width: int = 32
    batch_size: int = 256
    steps: int = 1056
    evaluate_every: int = 132
    curve_images: int = 2000
    warmup: float = 0.1
    learning_rate: float = 0.3
    weight_decay: float = 3e-3
    momentum: float = 0.9
    begin: float = 0.1
    end: float = 0.7
    cut: float = 0.5
    tfmot_frequency: int = 10
    multiple_of: int = 8
    calibration_batches: int = 8
    levels: tuple[float, ...] = (0.5, 0.68, 0.8, 0.9, 0.95)
    seeds: int = 3


@dataclass(frozen=True)
class Trial:
    """One training: a method at a level, with a seed.

    Attributes:
        method: name of one of `METHODS`.
        level: share to prune, of what the method prunes.
        seed: of the initial weights, the batches and the augmentation.
        split: the examples to evaluate on; `"validation"` is for choosing a
            protocol.
    """

    method: str
    level: float
    seed: int
    split: str = "test"


class Training:
    """Trains the models of all pruning methods in the same way.

    Args:
        protocol: of the race.
        images: to train on.
        trial: the method, the level and the seed.

    Attributes:
        curve: accuracy after each `evaluate_every` steps.
        seconds: mean processor time of a step, for each of these intervals.
    """

    def __init__(self, protocol: Protocol, images: Images, trial: Trial):
        self.protocol, self.images, self.trial = protocol, images, trial
        self.curve: list[float] = []
        self.seconds: list[float] = []

    def fit(
        self,
        model: keras.Model,
        *callbacks,
        start: float = 0.0,
        stop: float = 1.0,
        keras=keras,
    ) -> None:
        """Train a model during a part of the training.

        Args:
            model: to compile, with an empty momentum, and to train.
            *callbacks: of the method.
            start: share of the training that is already done.
            stop: share of the training after which to stop.
            keras: the package that the model is made with.
        """
        protocol = self.protocol
        epochs = protocol.steps // protocol.evaluate_every
        first, last = round(start * epochs), round(stop * epochs)
        step = first * protocol.evaluate_every
        model.compile(
            self._optimizer(model, step, keras),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        model.fit(
            self.images.batches(
                protocol.batch_size, seed=self.trial.seed, start_step=step
            ),
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=protocol.evaluate_every,
            callbacks=[*callbacks, self._recorder(model, keras)],
            shuffle=False,  # the batches are shuffled already
            verbose=0,
        )

    def _optimizer(self, model, step, keras):
        protocol = self.protocol
        schedule = warmup_cosine(
            protocol.learning_rate,
            steps=protocol.steps,
            warmup_steps=round(protocol.warmup * protocol.steps),
            keras=keras,
        )
        optimizer = keras.optimizers.SGD(
            schedule,
            momentum=protocol.momentum,
            nesterov=True,
            weight_decay=protocol.weight_decay or None,
        )
        decay_kernels_alone(optimizer, model)
        optimizer.iterations.assign(step)
        return optimizer

    def _recorder(self, model, keras):
        split = self.images.splits[self.trial.split]
        part = first(split, self.protocol.curve_images)

        def begin(epoch, logs):
            self._started = time.process_time()

        def end(epoch, logs):
            seconds = time.process_time() - self._started
            self.seconds.append(seconds / self.protocol.evaluate_every)
            self.curve.append(accuracy(model, part))

        return keras.callbacks.LambdaCallback(
            on_epoch_begin=begin, on_epoch_end=end
        )


class Trainer:
    """Runs trials on CIFAR-10.

    Args:
        protocol: the settings that they share.
        data_dir: the folder that holds CIFAR-10.
        folder: for .tflite files.
    """

    def __init__(self, protocol: Protocol, data_dir: str | None, folder: Path):
        self.protocol = protocol
        self.images = Images(data_dir)
        self.folder = Path(folder)

    def run(self, trial: Trial) -> dict:
        """Train and prune a network once, and evaluate it.

        Returns:
            The trial; `accuracy` of the final network on the whole split;
            `curve`; `step_seconds`, median processor time of a training step;
            `pruned`, the level as measured; `parameters`; `multiply_adds`; of
            dense and structured methods `files`: of each .tflite file its
            `name`, its `bytes` and, of int8, its `accuracy`; and `network`,
            from which the files can be exported again.

        Raises:
            RuntimeError: the level was missed, and not by divergence.
        """
        keras.backend.clear_session()
        keras.utils.set_random_seed(trial.seed)
        method = METHODS[trial.method]
        training = Training(self.protocol, self.images, trial)
        model = network(self.protocol.width)
        parameters = model.count_params()
        model = method.prune(training, model)
        pruned = (
            1 - model.count_params() / parameters
            if method.structured
            else zeros(model)
        )
        if not _diverged(model):
            _check(trial, pruned, method)
        result = {
            **asdict(trial),
            "accuracy": accuracy(model, self.images.splits[trial.split]),
            "curve": training.curve,
            "step_seconds": statistics.median(training.seconds),
            "pruned": pruned,
            "parameters": model.count_params(),
            "multiply_adds": sum(map(multiply_adds, graph.nodes(model))),
        }
        if method.structured or not trial.level:
            size = self.protocol.batch_size
            result["files"] = export_files(
                self.folder,
                trial,
                model,
                self.images.batches(size, seed=trial.seed),
                self.protocol.calibration_batches * size,
                self.images.splits[trial.split],
            )
            result["network"] = model.to_json()
        return result


def export_files(
    folder: Path,
    trial: Any,
    model: keras.Model,
    batches: Iterable,
    calibration_examples: int,
    split: Examples,
) -> dict[str, dict[str, Any]]:
    """Write a trial's network as float32 and as int8 .tflite files.

    The files of a network that diverged hold new weights: they are as fast, and
    as good as chance.

    Args:
        folder: of the files.
        trial: with a method, a level and a seed, which name them.
        model: the network, in float.
        batches: to calibrate the int8 file with.
        calibration_examples: how many of them.
        split: that the int8 file is scored with.

    Returns:
        By dtype the file's `name` and `bytes`, and of int8 its `accuracy`.
    """
    if _diverged(model):
        model = keras.models.clone_model(model)
    quantized = quantization.quantize_aware(
        model, batches, calibration_examples=calibration_examples
    )
    files: dict[str, dict[str, Any]] = {}
    method = trial.method.replace(" ", "_").replace(",", "")
    for dtype, exported in (("float32", model), ("int8", quantized)):
        name = f"{method}-{trial.level:g}-{trial.seed}.{dtype}.tflite"
        export.to_tflite(exported, folder / name)
        files[dtype] = {
            "name": name,
            "bytes": (folder / name).stat().st_size,
        }
    small = files["int8"]
    small["accuracy"] = file_accuracy(folder / small["name"], split)
    return files


def _diverged(model):
    """Say whether a weight is infinite or no number."""
    try:
        graph.check_finite(model)
    except ValueError:
        return True
    return False


def _check(trial, pruned, method):
    # Whole channels reach a level in steps, so they may go beyond it.
    beyond = pruned - trial.level
    if beyond < -TOLERANCE or (beyond > TOLERANCE and not method.structured):
        raise RuntimeError(
            f"{trial.method} with seed {trial.seed} missed its level "
            f"{trial.level:g}: {pruned:.4f} is pruned."
        )
