"""Speeds of peers in turns, and the benchmarks that compare so."""

import threading
import time
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from kbp._utils.machine import machine, versions
from kbp.benchmarks.augmentation import cases as augmentation
from kbp.benchmarks.core.peers import cells, speeds_in_turns
from kbp.benchmarks.records import cases as packed

COMMON = {"machine": machine(), "versions": versions(), "commit": "c"}


def test_each_takes_its_turn_and_is_compared_within_the_round():
    order = []

    def run(name, speeds):
        def turn():
            order.append(name)
            return next(speeds)

        return turn

    found = speeds_in_turns(
        {
            "ours": run("ours", iter([1.0, 8.0, 2.0, 4.0])),
            "other": run("other", iter([9.0, 2.0, 2.0, 2.0])),
        },
        3,
    )
    assert order == [*("other", "ours", "ours", "other") * 2]
    assert found["peers"]["ours"]["speed"] == 4
    assert found["peers"]["other"]["ratio"] == 2  # of 4, 1 and 2
    rows = [*cells({"case": "a", **found})]
    assert rows[1] == ["a", "other", "2 (2 - 2)", "2.00"]


def _in_augmentation(wait):
    return partial(augmentation._speed, augmentation._in_tf_data(wait))


def _in_records(wait):
    batches = tf.data.Dataset.range(99)
    auto = tf.data.AUTOTUNE
    return partial(packed._speed, batches.map(wait, auto).prefetch(auto))


@pytest.mark.long
@pytest.mark.parametrize("begin", [_in_augmentation, _in_records])
def test_what_is_made_between_turns_is_not_counted(monkeypatch, begin):
    pause, lock = 0.05, threading.Lock()

    def wait(x):
        with lock:  # tf.data makes several at once, of which each waits
            time.sleep(pause)
        return x

    for cases in (augmentation, packed):
        monkeypatch.setattr(cases, "_TURN", 0.25)
        monkeypatch.setattr(cases, "_BATCH", 1)
    run = begin(lambda x: tf.numpy_function(wait, [x], tf.int64))
    speeds = []
    for _ in range(3):
        speeds.append(run())
        time.sleep(10 * pause)  # the turns of others
    # A sleep is never shorter, and may be longer on a busy machine.
    assert max(speeds[1:]) < 1.05 / pause


@pytest.mark.parametrize(
    "elastic", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_augmentations_are_compared(monkeypatch, elastic):
    monkeypatch.setattr(augmentation, "_TURN", 0.01)
    figures = augmentation.measure(elastic, 1)
    assert {"kbp", "Keras"} <= {*figures["peers"]}
    line = {"case": "all", **COMMON, **figures}
    assert "| all | Keras |" in augmentation.markdown_table([line])


def test_shards_are_compared(monkeypatch):
    pytest.importorskip("array_record", reason="needs kbp[records]")
    for name, value in (("_TURN", 0.01), ("_BATCH", 4), ("_BUFFER", 8)):
        monkeypatch.setattr(packed, name, value)
    figures = packed.measure(40, 8, 1)
    assert [*figures["peers"]] == [*packed.PEERS]
    line = {"case": "all", **COMMON, **figures}
    assert "| all | tf.data, TFRecord |" in packed.markdown_table([line])


def test_by_hand_the_same_images_are_read(tmp_path):
    pytest.importorskip("array_record", reason="needs kbp[records]")
    from kbp.data import Examples, Splits, records

    images = np.random.default_rng(0).integers(0, 256, (128, 4, 5, 3), "uint8")
    few = Examples(images, np.arange(128) % 2)
    records.pack(Splits(few, few, few, ("a", "b")), tmp_path / "p", shards=3)
    read = records.load(tmp_path / "p")
    packed._write_tfrecord(tmp_path, read)
    right = sorted(x.tobytes() for x in images)
    for batches in (
        packed._by_tf_data(tmp_path / "p"),
        packed._from_tfrecord(tmp_path, (4, 5, 3)),
    ):
        found = next(iter(batches)).numpy() * 255
        read = sorted(x.tobytes() for x in found.round().astype("uint8"))
        assert read == right
