"""Trials of the race of spiking networks."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from kbp import data, spiking
from kbp._utils.files import make_folder
from kbp.benchmarks.core.images import Images, accuracy, first
from kbp.data.datasets import digits
from kbp.errors import UserError
from kbp.optimizers import HybridOptimizer
from kbp.optimizers.schedules import warmup_cosine

DIGITS, CIFAR10 = "digits", "cifar10"
SOURCE, CONVERTED = "source", "converted"
ROUNDED, THROUGH_TIME = "clip-floor-shift", "through time"
_WARMUP = 0.1  # of the steps
_CALIBRATION = 256  # training images that set thresholds


@dataclass(frozen=True)
class Protocol:
    """What all trials have in common.

    Attributes:
        seeds: of each network of the digits, and the dense networks that are
            taken of CIFAR-10.
        image_size: of the digits, in pixels.
        width: channels of the digits' network, see `network`.
        batch_size: images in a batch.
        epochs: of the source network of the digits.
        learning_rate: its peak then.
        timesteps: of converted networks.
        rounded_timesteps: of networks that are trained with clip-floor-shift.
        trained_timesteps: of networks that are trained through time.
        more_epochs: of both trainings.
        deep_timesteps: of networks of CIFAR-10 that are trained with
            clip-floor-shift.
        deep_epochs: of their training.
        deep_settle: share of the time that answers of CIFAR-10 leave out.
        more_rate: the peak of their learning rate.
        percentile: of the values of a ReLU, which its threshold is.
        images: of the test split of CIFAR-10.
        counted: test images, of which spikes and operations are counted.
    """

    seeds: int = 3
    image_size: int = 16
    width: int = 32
    batch_size: int = 64
    epochs: int = 30
    learning_rate: float = 3e-3
    timesteps: tuple[int, ...] = (4, 8, 16, 32, 64)
    rounded_timesteps: tuple[int, ...] = (4, 8, 16)
    trained_timesteps: tuple[int, ...] = (8,)
    more_epochs: int = 4
    deep_timesteps: tuple[int, ...] = (8, 32)
    deep_epochs: int = 1
    deep_settle: float = 0.5
    more_rate: float = 1e-3
    percentile: float = 99.9
    images: int = 2000
    counted: int = 360


@dataclass(frozen=True)
class Trial:
    """One network.

    Attributes:
        data: name of the data set.
        method: how it was made, `SOURCE` and the like.
        timesteps: how long it runs; 0 of a source network.
        seed: of the source network and of its training.
        split: what it is judged on.
    """

    data: str
    method: str
    timesteps: int
    seed: int
    split: str = "test"


class Trainer:
    """Makes spiking networks.

    Args:
        protocol: the settings that they share.
        data_dir: the folder that holds CIFAR-10.
        folder: for source networks.
    """

    def __init__(self, protocol: Protocol, data_dir: str | None, folder: Path):
        self.protocol, self.data_dir = protocol, data_dir
        self.folder = Path(folder)
        self.sources: dict[str, Callable[[int], keras.Model]] = {
            DIGITS: self._source_of_digits,
            CIFAR10: self._source_of_cifar10,
        }
        self.splits: dict[str, Any] = {}

    def run(self, trial: Trial) -> dict:
        """Make a network and judge it.

        Returns:
            The trial; `accuracy`; and, of a spiking network, means over test
            images, whose number is `images`: `spikes`, `additions`,
            `multiply_adds`, joules of `energy`, and of the source network's
            `dense_energy`.

        Raises:
            UserError: the dense network of CIFAR-10 is missing.
        """
        keras.backend.clear_session()
        keras.utils.set_random_seed(trial.seed)
        model = self.sources[trial.data](trial.seed)
        train, test = self._examples(trial.data)
        result = asdict(trial)
        if trial.method == SOURCE:
            return result | {"accuracy": accuracy(model, test)}
        made = self._made(trial, model, train)
        counted = min(self.protocol.counted, len(test.inputs))
        found = spiking.cost(made, test.inputs, examples=counted)
        return result | {
            "accuracy": _accuracy(made, test),
            "images": found.examples,
            "spikes": found.total("spikes"),
            "additions": found.total("synaptic_operations"),
            "multiply_adds": found.total("multiply_adds"),
            "energy": found.energy,
            "dense_energy": found.dense_energy,
        }

    def _made(
        self, trial: Trial, model: keras.Model, train: data.Examples
    ) -> keras.Model:
        protocol, steps = self.protocol, trial.timesteps
        some = train.inputs[:_CALIBRATION]
        share, deep = protocol.percentile, trial.data == CIFAR10
        if trial.method == ROUNDED:
            model = spiking.to_clip_floor_shift(
                model, some, levels=steps, percentile=share
            )
            epochs = protocol.deep_epochs if deep else protocol.more_epochs
            self._fit(model, train, trial.seed, epochs, cifar10=deep)
        learnt = trial.method == THROUGH_TIME
        made = spiking.to_spiking(
            model,
            some,
            timesteps=steps,
            percentile=share,
            settle=protocol.deep_settle if deep else 0.0,
            learn_threshold=learnt,
        )
        if learnt:
            self._fit(made, train, trial.seed, protocol.more_epochs)
        return made

    def _fit(
        self,
        model: keras.Model,
        train: data.Examples,
        seed: int,
        epochs: int,
        rate: float | None = None,
        *,
        cifar10: bool = False,
    ) -> None:
        protocol = self.protocol
        each = data.steps_per_epoch(train, protocol.batch_size)
        schedule = warmup_cosine(
            rate or protocol.more_rate,
            steps=epochs * each,
            warmup_steps=int(_WARMUP * epochs * each),
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(HybridOptimizer(schedule), loss)
        batches = data.training_batches(
            train,
            protocol.batch_size,
            seed=seed,
            augment=data.crop_and_flip(padding=2)
            if cifar10
            else data.affine(rotation=8.0, shift=0.06, zoom=0.08),
        )
        model.fit(
            batches,
            epochs=epochs,
            steps_per_epoch=each,
            shuffle=False,
            verbose=0,
        )

    def _examples(self, name: str) -> tuple[data.Examples, data.Examples]:
        """Return the training and the test images of a data set."""
        if name not in self.splits:
            if name == DIGITS:
                splits = digits.load(image_size=self.protocol.image_size)
                self.splits[name] = splits.train, splits.test
            else:
                images = Images(self.data_dir)
                test = first(images.splits["test"], self.protocol.images)
                self.splits[name] = images.train, test
        train, test = self.splits[name]
        return train, test

    def _source_of_digits(self, seed: int) -> keras.Model:
        """Train the source network of a seed, once."""
        path = self.folder / f"digits-{seed}.keras"
        if path.is_file():
            return keras.saving.load_model(path, compile=False)
        protocol = self.protocol
        train, _ = self._examples(DIGITS)
        model = network(train.inputs.shape[1:], protocol.width)
        self._fit(model, train, seed, protocol.epochs, protocol.learning_rate)
        make_folder(self.folder)
        model.save(path)
        return model

    def _source_of_cifar10(self, seed: int) -> keras.Model:
        """Take the dense network of a seed, which another race has trained."""
        path = self.folder.parent / "pruning_trained.files"
        path /= f"dense-{seed + 1}.keras"  # its seeds begin at 1
        if not path.is_file():
            raise UserError(
                f"{path}: missing. `kbp benchmark pruning-trained --results "
                f"{self.folder.parent / 'pruning_trained.jsonl'}` trains it."
            )
        return keras.saving.load_model(path, compile=False)


def network(shape: tuple[int, ...], width: int) -> keras.Model:
    """Return a network of digits, of two convolutions and two dense layers.

    Args:
        shape: of an image.
        width: channels of the first convolution; the second has twice as many,
            the hidden dense layer four times.
    """
    inputs = x = keras.Input(shape)
    for channels in (width, 2 * width):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.AveragePooling2D(2)(x)
    x = layers.Dense(4 * width, activation="relu")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(10)(x))


def _accuracy(model: keras.Model, test: data.Examples) -> float:
    """Return a spiking network's accuracy, in batches that fit into memory."""
    logits = model.predict(test.inputs, batch_size=50, verbose=0)
    return float(np.mean(logits.argmax(axis=-1) == test.labels))
