"""Batches a second from shards of kbp's, from files, and by tf.data's means."""

from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from kbp import data
from kbp._utils.files import make_folder, temporary_folder
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance, rounds
from kbp.benchmarks.core.peers import (
    batches_of_a_turn,
    cells,
    speeds_in_turns,
    taken_from,
)
from kbp.benchmarks.core.registry import register
from kbp.data import records
from kbp.data.formats import image_folder
from kbp.data.lazy import chunks
from kbp.data.records.array_record import Reader
from kbp.data.records.reading import read_index

CASES = {"8,000 of 64x64": (8_000, 64), "1,000 of 256x256": (1_000, 256)}
PEERS = {
    "kbp, packed": "`kbp pack`, shuffled as a whole",
    "kbp, PNG files": '`image_folder` with `cache = "none"`',
    "tf.data, the same shards": "a buffer of 2,000 indices, array_record, "
    "`decode_raw`",
    "tf.data, TFRecord": "the same bytes in TFRecord files, read in turns, a "
    "buffer of 2,000 records",
}
_BATCH, _SHARDS, _BUFFER = 128, 4, 2_000
_TURN = 1.0  # seconds


def measure(count: int, size: int, rounds: int) -> dict:
    """Take shuffled batches of floats from each source, in turns.

    Args:
        count: of the training images.
        size: their height and width, in pixels.
        rounds: in which each takes its turn of a second.

    Returns:
        What `speeds_in_turns` does, of images per second.
    """
    with temporary_folder() as folder:
        _write(folder / "images", count, size)
        files = image_folder.load(
            folder / "images", image_size=size, mode="none"
        )
        records.pack(files, folder / "packed", shards=_SHARDS)
        packed = records.load(folder / "packed")
        _write_tfrecord(folder, packed)
        sources = dict(
            zip(
                PEERS,
                (
                    data.training_batches(packed.train, _BATCH, seed=0),
                    data.training_batches(files.train, _BATCH, seed=0),
                    _by_tf_data(folder / "packed"),
                    _from_tfrecord(folder, packed.input_shape),
                ),
                strict=True,
            )
        )
        turns = {
            name: partial(_speed, batches) for name, batches in sources.items()
        }
        return speeds_in_turns(turns, rounds)


def _speed(batches: tf.data.Dataset) -> float:
    count, took = batches_of_a_turn(taken_from(batches), _TURN)
    return _BATCH * count / took


def _write(folder: Path, count: int, size: int) -> None:
    """Write images of coarse structure with noise, as photographs are."""
    rng = np.random.default_rng(0)
    for index in range(count + 2):  # two of them for test
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), "uint8"))
        image = np.asarray(coarse.resize((size, size))).astype("int16")
        image = (image + rng.integers(-3, 4, image.shape)).clip(0, 255)
        split = "train" if index < count else "test"
        path = folder / split / "ab"[index % 2] / f"{index}.png"
        make_folder(path.parent)
        Image.fromarray(image.astype("uint8")).save(path)


def _by_tf_data(folder: Path) -> tf.data.Dataset:
    """Return batches as one would write them by hand over the same shards."""
    index = read_index(folder)
    shards = index.of("train")
    readers = [Reader(folder / shard.name) for shard in shards]
    owners = np.repeat(range(len(shards)), [shard.count for shard in shards])
    kind, start = index.schema.record, np.array([s.first for s in shards])
    first = kind["packing"].itemsize + kind["number"].itemsize
    length = kind["inputs"].itemsize

    def read(numbers: np.ndarray) -> np.ndarray:
        found = np.empty(len(numbers), object)
        for place, reader in enumerate(readers):
            own = np.flatnonzero(owners[numbers] == place)
            inside = numbers[own] - start[place]
            found[own] = reader.read(inside.tolist())
        return found

    def batch(numbers: tf.Tensor) -> tf.Tensor:
        found = tf.numpy_function(read, [numbers], tf.string, stateful=False)
        pixels = tf.io.decode_raw(found, tf.uint8)[:, first : first + length]
        return _floats(pixels, kind["inputs"].shape)

    return (
        tf.data.Dataset.range(len(owners))
        .shuffle(_BUFFER)
        .repeat()
        .batch(_BATCH, drop_remainder=True)
        .map(batch, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def _floats(pixels: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    return tf.cast(tf.reshape(pixels, (-1, *shape)), tf.float32) / 255.0


def _write_tfrecord(folder: Path, packed: data.Splits) -> None:
    for place in range(_SHARDS):
        own = packed.train.inputs.view(slice(place, None, _SHARDS))
        with tf.io.TFRecordWriter(str(folder / f"{place}.tfrecord")) as writer:
            for part in chunks(own):
                for image in part:
                    writer.write(image.tobytes())


def _from_tfrecord(folder: Path, shape: tuple[int, ...]) -> tf.data.Dataset:
    names = [str(folder / f"{place}.tfrecord") for place in range(_SHARDS)]
    return (
        tf.data.Dataset.from_tensor_slices(names)
        .interleave(
            tf.data.TFRecordDataset,
            cycle_length=_SHARDS,
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .shuffle(_BUFFER)
        .repeat()
        .batch(_BATCH, drop_remainder=True)
        .map(
            lambda found: _floats(tf.io.decode_raw(found, tf.uint8), shape),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def markdown_table(lines: list[dict]) -> str:
    """Return measured cases as Markdown: a table, and how it was measured."""
    titles = ["images", "source", "images per second", "kbp's shards over it"]
    rows = [row for line in lines for row in cells(line)]
    said = "; ".join(f"{name}: {text}" for name, text in PEERS.items())
    return "\n".join(
        [
            *markdown.table(titles, rows, texts=2),
            "",
            f"Batches of {_BATCH} as floats, shuffled, files in the system's "
            f"cache; medians (quartiles) of {rounds(lines)} rounds in "
            f"turns of a second; ratio: that of the same round. {said}. "
            + provenance(lines[0], lines),
        ]
    )


RECORDS = register(
    Cases(
        name="records",
        cases=CASES,
        measure=lambda name, rounds: measure(*CASES[name], rounds),
        show=lambda line: "\n".join(map(markdown.row, cells(line))),
        markdown_table=markdown_table,
    )
)
