"""What the optimizers train: data, a network, and when it is good enough."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from keras.losses import SparseCategoricalCrossentropy

from kbp import losses, models

Tensor = Any
Arrays = tuple[np.ndarray, np.ndarray]
SPLITS = ("train", "validation", "test")
HEAD = "head"  # what a last layer is called that has no other of these names
# How the names of last layers end; of several in a network, all of them.
HEADS = ("logits", "forecast", "linear_skip", "outputs", HEAD)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A training that optimizers are compared in.

    Attributes:
        words: data and network, for the table.
        load: `load(data_dir) -> arrays`, of "train", "validation" and "test"
            the inputs and labels.
        build: `build(input_shape) -> model`.
        loss: `loss() -> keras.losses.Loss`, of labels and outputs.
        score: `score(labels, outputs) -> tensor`, of each example.
        scored: what the mean score is called.
        target: mean score to reach, fixed before the race.
        higher: whether a higher score is better.
        batch_size: examples in a batch.
        steps: of a training.
        evaluate_every: steps between two looks at the score.
        augment: `augment(key, inputs, labels)` changes a batch, or `None`.
        large: whether it is for accelerators.
    """

    words: str
    load: Callable[[str | None], dict[str, Arrays]]
    build: Callable[..., keras.Model]
    loss: Callable[[], keras.losses.Loss]
    score: Callable[[Tensor, Tensor], Tensor]
    scored: str
    target: float
    higher: bool = True
    batch_size: int = 32
    steps: int
    evaluate_every: int
    augment: Callable[..., tuple[Tensor, Tensor]] | None = None
    large: bool = False


def _arrays(splits: Any) -> dict[str, Arrays]:
    """Return the arrays of splits of `kbp.data`."""
    return {
        name: (
            np.asarray(getattr(splits, name).inputs),
            np.asarray(getattr(splits, name).labels),
        )
        for name in SPLITS
    }


def _digits(data_dir: str | None) -> dict[str, Arrays]:
    from kbp.data.datasets import digits

    return {
        name: (images[..., 0], labels)  # rows, one after another
        for name, (images, labels) in _arrays(digits.load()).items()
    }


def _text(data_dir: str | None) -> dict[str, Arrays]:
    """Return windows of Python's own documentation, as bytes.

    The first nine tenths of the text train, the rest is halved.
    """
    from pydoc_data.topics import topics

    whole = "\n".join(topics[name] for name in sorted(topics))
    text = np.frombuffer(whole.encode(), np.uint8).astype("int32")
    windows = text[: text.size // WINDOW * WINDOW].reshape(-1, WINDOW)
    first, second = (round(len(windows) * share) for share in (0.9, 0.95))
    parts = np.split(windows, [first, second])
    return {
        name: (part[:, :-1], part[:, 1:])
        for name, part in zip(SPLITS, parts, strict=True)
    }


WINDOW = 129  # bytes, of which each but the first is to be told


def _language_model(shape: tuple[int, ...]) -> keras.Model:
    """Return a causal transformer of a million parameters.

    Four layers of width 144, each with LayerNormalization in front of
    attention and of a feed-forward layer of four times the width, as GPT-2's.
    """
    width, heads, (time,) = 144, 4, shape
    inputs = keras.Input(shape, dtype="int32")
    x = layers.Embedding(256, width, name="embedding")(inputs)
    places = layers.Embedding(time, width, name="position_embedding")
    x = x + places(ops.arange(time)[None])
    for number in range(4):
        y = layers.LayerNormalization()(x)
        query, key, value = (
            layers.Reshape((time, heads, -1))(
                layers.Dense(width, name=f"layer{number}_{part}")(y)
            )
            for part in ("query", "key", "value")
        )
        y = ops.nn.dot_product_attention(query, key, value, is_causal=True)
        y = layers.Reshape((time, width))(y)
        x = x + layers.Dense(width, name=f"layer{number}_mix")(y)
        y = layers.LayerNormalization()(x)
        y = layers.Dense(4 * width, "gelu", name=f"layer{number}_wide")(y)
        x = x + layers.Dense(width, name=f"layer{number}_narrow")(y)
    x = layers.LayerNormalization()(x)
    return keras.Model(inputs, layers.Dense(256, name=HEAD)(x))


def _windows(data_dir: str | None) -> dict[str, Arrays]:
    from kbp.data.datasets import ett

    return _arrays(ett.load("etth1", data_dir, lookback=336, horizon=96))


def _table(data_dir: str | None) -> dict[str, Arrays]:
    """Return a day of a transformer's rows, and its oil's mean a day later."""
    from kbp.data.datasets import ett

    splits = ett.load("ettm1", data_dir, lookback=96, horizon=96)
    return {
        name: (x.reshape(len(x), -1), y[:, :, -1].mean(axis=1, keepdims=True))
        for name, (x, y) in _arrays(splits).items()
    }


def _nuclei(data_dir: str | None) -> dict[str, Arrays]:
    from kbp.data.datasets import dsb2018

    return _arrays(dsb2018.load(data_dir))


def _photographs(data_dir: str | None) -> dict[str, Arrays]:
    from kbp.benchmarks.core.images import Images

    images = Images(data_dir)
    parts = {"train": images.train, **images.splits}
    return {name: (part.inputs, part.labels) for name, part in parts.items()}


def crop_and_flip(size: int, padding: int) -> Callable[..., Any]:
    """Return an augmentation in JAX: square crops, half of them mirrored.

    Args:
        size: height and width of a crop, in pixels.
        padding: zeros at each side of the image before.
    """

    def augment(key: Tensor, images: Tensor, labels: Tensor) -> Any:
        import jax

        masks = labels if labels.ndim == 3 else None
        wide = ((0, 0), (padding, padding), (padding, padding))
        images = jax.numpy.pad(images, (*wide, (0, 0)))
        room = images.shape[1] - size + 1, images.shape[2] - size + 1
        keys = jax.random.split(key, 3)
        count = len(images)
        tops, lefts = (
            jax.random.randint(k, (count,), 0, most)
            for k, most in zip(keys[:2], room, strict=True)
        )
        mirrored = jax.random.bernoulli(keys[2], shape=(count,))

        def cut(image: Tensor, top: Tensor, left: Tensor, flip: Tensor) -> Any:
            begin = (top, left, *[0] * (image.ndim - 2))
            part = jax.lax.dynamic_slice(
                image, begin, (size, size, *image.shape[2:])
            )
            return jax.numpy.where(flip, part[:, ::-1], part)

        changed = jax.vmap(cut)(images, tops, lefts, mirrored)
        if masks is None:
            return changed, labels
        return changed, jax.vmap(cut)(masks, tops, lefts, mirrored)

    return augment


def _logits() -> keras.losses.Loss:
    return SparseCategoricalCrossentropy(from_logits=True)


def _right(labels: Tensor, logits: Tensor) -> Tensor:
    return ops.cast(ops.argmax(logits, axis=-1) == labels, "float32")


def _bits(labels: Tensor, logits: Tensor) -> Tensor:
    nats = keras.losses.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    )
    return ops.mean(nats, axis=-1) / np.log(2.0)


def _squares(labels: Tensor, outputs: Tensor) -> Tensor:
    axes = tuple(range(1, len(outputs.shape)))
    return ops.mean(ops.square(labels - outputs), axis=axes)


def _dice(labels: Tensor, logits: Tensor) -> Tensor:
    """Return twice the overlap over both areas, of the foreground."""
    found = ops.cast(ops.argmax(logits, axis=-1), "float32")
    true = ops.cast(labels, "float32")
    both = 2 * ops.sum(found * true, axis=(1, 2))
    areas = ops.sum(found, axis=(1, 2)) + ops.sum(true, axis=(1, 2))
    return (both + 1e-6) / (areas + 1e-6)


TASKS = {
    "attention": Task(
        words="digits by rows, BP-Transformer of 2 layers",
        load=_digits,
        build=partial(models.BPTransformer, num_outputs=10),
        loss=_logits,
        score=_right,
        scored="accuracy",
        target=0.96,
        steps=800,
        evaluate_every=20,
    ),
    "language": Task(
        words="bytes of Python's documentation, causal transformer",
        load=_text,
        build=_language_model,
        loss=_logits,
        score=_bits,
        scored="bits per byte",
        target=2.4,
        higher=False,
        batch_size=16,
        steps=400,
        evaluate_every=20,
    ),
    "forecast": Task(
        words="ETTh1, 96 hours ahead, BP-Transformer of 2 layers",
        load=_windows,
        build=partial(
            models.BPTransformer,
            num_outputs=96,
            head="forecasting",
            patch_size=24,
            width=32,
            dropout=0.3,
        ),
        loss=keras.losses.MeanSquaredError,
        score=_squares,
        scored="MSE",
        target=0.39,
        higher=False,
        steps=500,
        evaluate_every=25,
    ),
    "table": Task(
        words="a day of ETTm1's rows, mean of the next day's oil, residual MLP",
        load=_table,
        build=partial(
            models.ResidualMLP,
            num_outputs=1,
            width=128,
            num_layers=4,
            dropout=0.2,
        ),
        loss=keras.losses.MeanSquaredError,
        score=_squares,
        scored="MSE",
        target=0.1,
        higher=False,
        batch_size=256,
        steps=1000,
        evaluate_every=50,
    ),
    "segmentation": Task(
        words="dsb2018, Pyramid-BPNet",
        load=_nuclei,
        build=partial(
            models.PyramidBPNet,
            num_classes=2,
            head="segmentation",
            size="small",
        ),
        loss=losses.DiceCrossEntropy,
        score=_dice,
        scored="Dice",
        target=0.88,
        batch_size=8,
        steps=200,
        evaluate_every=10,
        augment=crop_and_flip(128, padding=0),
    ),
    "images": Task(
        words="CIFAR-10, ResNet-20, 20 epochs",
        load=_photographs,
        build=partial(models.ResNet, num_classes=10),
        loss=_logits,
        score=_right,
        scored="accuracy",
        target=0.87,
        batch_size=256,
        steps=20 * 176,
        evaluate_every=88,
        augment=crop_and_flip(32, padding=4),
        large=True,
    ),
}
