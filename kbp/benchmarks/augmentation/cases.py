"""Images a second that are changed at random, by each of several packages."""

import importlib.util
from collections.abc import Callable
from functools import partial
from importlib import metadata

import keras
import numpy as np
import tensorflow as tf

from kbp import data
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance, rounds
from kbp.benchmarks.core.peers import (
    Start,
    batches_of_a_turn,
    cells,
    speeds_in_turns,
    taken_from,
)
from kbp.benchmarks.core.registry import register

CASES = {"flip, turn, shift, zoom": False, "and an elastic field": True}
_SIZE, _BATCH, _DEGREES, _PART = 64, 64, 15, 0.1
_TURN = 2.0  # seconds


def measure(elastic: bool, rounds: int) -> dict:
    """Change color images of 64x64 pixels, in turns.

    kbp and Keras change batches in tf.data, albumentations images one by one,
    as each is meant to be used. With an elastic field, kbp and albumentations
    change masks alike; Keras changes images alone.

    Args:
        elastic: whether an elastic field is among the changes.
        rounds: in which each takes its turn of two seconds.

    Returns:
        What `speeds_in_turns` does, of images per second.
    """
    rng = np.random.default_rng(0)
    images = rng.random((_BATCH, _SIZE, _SIZE, 3)).astype("float32")
    masks = rng.integers(0, 2, (_BATCH, _SIZE, _SIZE)).astype("int32")
    starts = {
        "kbp": _by_kbp(images, masks, elastic),
        "Keras": _by_keras(images, elastic),
    }
    if importlib.util.find_spec("albumentations"):
        name = f"albumentations {metadata.version('albumentations')}"
        starts[name] = _by_albumentations(images, masks, elastic)
    turns = {name: partial(_speed, start) for name, start in starts.items()}
    return speeds_in_turns(turns, rounds)


def _speed(start: Start) -> float:
    count, took = batches_of_a_turn(start, _TURN)
    return _BATCH * count / took


def _in_tf_data(change: Callable[[tf.Tensor], object]) -> Start:
    return taken_from(
        tf.data.Dataset.range(2**62)
        .map(change, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(1)
    )


def _by_kbp(images: np.ndarray, masks: np.ndarray, elastic: bool) -> Start:
    if elastic:
        augment = data.deform(
            flip=True, rotation=_DEGREES, zoom=_PART, elastic=3.0
        )
    else:
        found = data.affine(
            flip=True, rotation=_DEGREES, shift=_PART, zoom=_PART
        )
        augment = found or _unchanged
    x, y = tf.constant(images), tf.constant(masks)
    return _in_tf_data(lambda step: augment(x, y, tf.stack([step, step])))


def _unchanged(x: tf.Tensor, y: tf.Tensor, seed: tf.Tensor) -> tuple:
    return x, y


def _by_keras(images: np.ndarray, elastic: bool) -> Start:
    layers = [
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomRotation(_DEGREES / 360, fill_mode="constant"),
        keras.layers.RandomTranslation(_PART, _PART, fill_mode="constant"),
        keras.layers.RandomZoom(_PART, fill_mode="constant"),
    ]
    if elastic:
        layers[2] = keras.layers.RandomElasticTransform()
    x = tf.constant(images)

    def change(step: tf.Tensor) -> tf.Tensor:
        found = x + 0.0 * tf.cast(step, tf.float32)  # else it is a constant
        for layer in layers:
            found = layer(found, training=True)
        return found

    return _in_tf_data(change)


def _by_albumentations(
    images: np.ndarray, masks: np.ndarray, elastic: bool
) -> Start:
    a = importlib.import_module("albumentations")
    turn = {"rotate": (-_DEGREES, _DEGREES), "scale": (0.9, 1.1), "p": 1}
    if elastic:
        steps = [a.D4(p=1), a.Affine(**turn), a.ElasticTransform(p=1)]
    else:
        shift = (-_PART, _PART)
        steps = [
            a.HorizontalFlip(p=0.5),
            a.Affine(translate_percent=shift, **turn),
        ]
    change = a.Compose(steps)
    x, y = (images * 255).astype("uint8"), masks.astype("uint8")

    def run(count: int) -> None:
        for _ in range(count):
            for image, mask in zip(x, y, strict=True):
                more = {"mask": mask} if elastic else {}
                change(image=image, **more)

    return lambda: run


def markdown_table(lines: list[dict]) -> str:
    """Return measured cases as Markdown: a table, and how it was measured."""
    titles = ["changes", "package", "images per second", "kbp's speed over it"]
    rows = [row for line in lines for row in cells(line)]
    return "\n".join(
        [
            *markdown.table(titles, rows, texts=2),
            "",
            f"Color images of {_SIZE}x{_SIZE}; kbp and Keras change batches of "
            f"{_BATCH} floats in tf.data, albumentations bytes one by one in a "
            "thread. With the elastic field kbp and albumentations change "
            "masks as well. Medians (quartiles) of "
            f"{rounds(lines)} rounds in turns; ratio: that of the same "
            "round. " + provenance(lines[0], lines),
        ]
    )


AUGMENTATION = register(
    Cases(
        name="augmentation",
        cases=CASES,
        measure=lambda name, rounds: measure(CASES[name], rounds),
        show=lambda line: "\n".join(map(markdown.row, cells(line))),
        markdown_table=markdown_table,
    )
)
