"""One trial of the quantization race: a quantized file."""

import functools
import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np

from kbp import export, graph
from kbp.benchmarks.core.images import Images, accuracy, file_accuracy
from kbp.benchmarks.pruning import trial as pruning_trial
from kbp.benchmarks.quantization.methods import FLOAT, METHODS, Job
from kbp.benchmarks.quantization.networks import NETWORKS
from kbp.training import checkpoint


@dataclass(frozen=True)
class Protocol:
    """The settings that all trials of a race share.

    Attributes:
        batch_size: images in a batch.
        steps: length of a training in float, pruning included.
        evaluate_every: number of steps between two points of its curve.
        fine_steps: number of steps of quantization-aware training.
        fine_rate: its peak learning rate, relative to that in float.
        calibration_batches: batches of training images that set the ranges.
        level: share of the parameters to prune.
        multiple_of: what the channels that stay are rounded to.
        verified: test images on which file and model are compared.
        seeds: number of seeds of each network.
    """

    batch_size: int = 256
    steps: int = 1056
    evaluate_every: int = 132
    fine_steps: int = 132
    fine_rate: float = 0.03
    calibration_batches: int = 2
    level: float = 0.68
    multiple_of: int = 8
    verified: int = 1000
    seeds: int = 3


@dataclass(frozen=True)
class Trial:
    """One file: a method on a network, with a seed.

    Attributes:
        network: name of one of `NETWORKS`.
        method: name of one of `METHODS`.
        seed: of the initial weights, the batches and the augmentation.
        split: the examples to evaluate on.
    """

    network: str
    method: str
    seed: int
    split: str = "test"


class Trainer:
    """Runs trials on CIFAR-10.

    Args:
        protocol: the settings that they share.
        data_dir: the folder that holds CIFAR-10.
        folder: for .tflite files and trained networks.
    """

    def __init__(self, protocol: Protocol, data_dir: str | None, folder: Path):
        self.protocol = protocol
        self.images = Images(data_dir)
        self.folder = Path(folder)

    def run(self, trial: Trial) -> dict:
        """Export a quantized file and evaluate it.

        Returns:
            The trial; of the file its `file` name, `bytes`, numbers of
            `operations` and of `float_operations`, and its `accuracy` by
            LiteRT on the whole split; where the Keras model is known,
            `parameters`, `model_accuracy` and the shares of outputs at most
            one step apart, by XNNPACK and by the reference kernels:
            `within_one` and `within_one_reference`; and, if it trained,
            `step_seconds`, median processor time of the last training's steps.
        """
        model, seconds = self.trained(trial.network, trial.seed)
        keras.backend.clear_session()
        keras.utils.set_random_seed(trial.seed)
        fine = self._training(trial, fine=True)
        path = self.folder / _file_name(trial)
        job = Job(
            model=model,
            build=NETWORKS[trial.network].build,
            path=path,
            calibration=self._calibration(trial.seed),
            train=fine.fit,
            pruning=self._training(trial),
        )
        made = METHODS[trial.method].quantize(job)
        audit = export.audit(path)
        return {
            **asdict(trial),
            "file": path.name,
            "bytes": audit.size,
            "operations": len(audit.operations),
            "float_operations": len(audit.float_operations),
            "accuracy": file_accuracy(path, self.images.splits[trial.split]),
            **({} if made is None else self._comparison(made, path, trial)),
            **_step_seconds(seconds if trial.method == FLOAT else fine.seconds),
        }

    def trained(
        self, network: str, seed: int
    ) -> tuple[keras.Model, list[float]]:
        """Return a network trained in float; train it if there is none yet.

        Returns:
            The network, and the processor time of its steps if it was trained
            now.
        """
        path = self.folder / f"{network}-{seed}.keras"
        seconds: list[float] = []
        if not path.is_file():
            keras.backend.clear_session()
            keras.utils.set_random_seed(seed)
            build, finish = NETWORKS[network].build, NETWORKS[network].finish
            model = build()
            training = self._training(Trial(network, FLOAT, seed))
            training.fit(model)
            seconds = training.seconds
            if finish is not None:
                finish(model)
            checkpoint.save(graph.plain(model), path)
        return keras.saving.load_model(path), seconds

    def _training(self, trial, fine=False):
        network, mine = NETWORKS[trial.network], self.protocol
        protocol = pruning_trial.Protocol(
            batch_size=mine.batch_size,
            steps=mine.steps,
            evaluate_every=mine.evaluate_every,
            learning_rate=network.learning_rate,
            weight_decay=network.weight_decay,
            multiple_of=mine.multiple_of,
        )
        if fine:
            protocol = replace(
                protocol,
                steps=mine.fine_steps,
                evaluate_every=mine.fine_steps,
                learning_rate=network.learning_rate * mine.fine_rate,
            )
        pruned = pruning_trial.Trial(
            trial.method, mine.level, trial.seed, trial.split
        )
        return pruning_trial.Training(protocol, self.images, pruned)

    def _calibration(self, seed):
        batches = self.images.batches(self.protocol.batch_size, seed=seed)
        count = self.protocol.calibration_batches
        return [np.asarray(x) for x, _ in batches.take(count)]

    def _comparison(self, model, path, trial):
        examples = self.images.splits[trial.split]
        images = examples.inputs[: self.protocol.verified]
        compare = functools.partial(export.verify, model, path, [images])
        return {
            "parameters": model.count_params(),
            "model_accuracy": accuracy(model, examples),
            "within_one": compare().within_one,
            "within_one_reference": compare(reference=True).within_one,
        }


def _step_seconds(seconds):
    return {"step_seconds": statistics.median(seconds)} if seconds else {}


def _file_name(trial):
    words = trial.method.replace(",", "").split()
    return f"{trial.network}-{'_'.join(words)}-{trial.seed}.tflite"
