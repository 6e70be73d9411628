"""TFRecord files: read by number, what is wrong with them named."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kbp.data.formats.records import RecordsConfig, load_config
from kbp.data.records import tfrecord
from kbp.errors import UserError

COUNTS = {
    "photos-train-00000-of-00002.tfrecord": 7,
    "photos-train-00001-of-00002.tfrecord": 4,
    "photos.test.tfrecords": 5,
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def image_of(seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (12, 12, 3), "uint8")


def record(seed, **other):
    content = io.BytesIO()
    Image.fromarray(image_of(seed)).save(content, "PNG")
    values = {"image": content.getvalue(), "label": seed % 3} | other
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if isinstance(value, bytes)
        else tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        for name, value in values.items()
        if value is not None
    }
    return tf.train.Example(
        features=tf.train.Features(feature=features)
    ).SerializeToString()


def write(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for each in records:
            writer.write(each)


@pytest.fixture
def folder(tmp_path):
    folder, seed = tmp_path / "tfrecords", 0
    folder.mkdir()
    for name, count in COUNTS.items():
        write(folder / name, map(record, range(seed, seed + count)))
        seed += count
    return folder


def load(folder, **keys):
    config = RecordsConfig(folder=str(folder), **{"image_size": 12} | keys)
    return load_config(config, None)


def test_images_and_classes_are_those_that_were_written(folder):
    splits = load(folder)
    right = np.array([image_of(seed) for seed in range(16)])
    order = np.random.default_rng(0).permutation(11)
    np.testing.assert_array_equal(splits.train.inputs[order], right[order])
    np.testing.assert_array_equal(splits.test.inputs[:], right[11:])
    assert splits.train.labels.tolist() == [i % 3 for i in range(11)]
    assert len(splits.validation) == 0
    assert splits.class_names == ("0", "1", "2")


def test_the_index_is_built_once(folder, monkeypatch):
    first = load(folder).train.inputs[:]
    monkeypatch.setattr(tfrecord, "_indexed", None)
    np.testing.assert_array_equal(load(folder).train.inputs[:], first)


def test_a_changed_file_is_indexed_again_and_said(folder):
    load(folder)
    write(folder / "photos.test.tfrecords", map(record, range(30, 33)))
    splits = load(folder)
    assert len(splits.test) == 3
    assert "has changed since" in splits.remarks[0]


def test_classes_may_have_names(folder):
    (folder / "labels.txt").write_text("cat\ndog\nbird\n")
    assert load(folder).class_names == ("cat", "dog", "bird")
    (folder / "labels.txt").write_text("cat\ndog\nbird\n", "utf-8-sig")
    assert load(folder).class_names == ("cat", "dog", "bird")
    (folder / "labels.txt").write_text("cat\ndog\n")
    with pytest.raises(UserError, match="names 2 classes, and there are 3"):
        load(folder)


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def rewrite(path, **other):
    write(path, [record(0), record(1, **other)])


DAMAGE = {
    "flipped": (lambda p: flip(p, 300), "damaged, or no TFRecord file"),
    "cut off": (
        lambda p: p.write_bytes(p.read_bytes()[:-9]),
        "damaged, or no TFRecord file",
    ),
    "not of examples": (
        lambda p: write(p, [b"\xff\xff", b"text"]),
        "no tf.train.Example",
    ),
    "without labels": (
        lambda p: rewrite(p, label=None, labels=3),
        "data.label: no feature 'label'; did you mean 'labels'",
    ),
    "without images": (
        lambda p: rewrite(p, image=None),
        "data.image: no feature 'image'",
    ),
    "labels are text": (
        lambda p: rewrite(p, label=b"cat"),
        "'label' one whole number",
    ),
    "a class below 0": (lambda p: rewrite(p, label=-1), "less than 0"),
    "no image": (
        lambda p: rewrite(p, image=b"GIF89a"),
        "record 1: its image cannot be read",
    ),
    "half an image": (
        lambda p: rewrite(p, image=b"\x89PNG\r\n\x1a\n" + bytes(40)),
        "record 1: its image cannot be read",
    ),
    "of no split": (
        lambda p: p.rename(p.with_name("photos.tfrecord")),
        "one word of its name must be",
    ),
    "of no test": (
        lambda p: p.rename(p.with_name("b-train.tfrecord")),
        "no TFRecord file has test",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_before_training(folder, kind):
    spoil, words = DAMAGE[kind]
    spoil(folder / "photos.test.tfrecords")
    with pytest.raises(UserError, match=words) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "corrupted record" not in str(caught.value)  # TensorFlow's words


def test_a_record_that_changes_during_training_is_named(folder):
    images = load(folder).train.inputs
    path = folder / "photos-train-00001-of-00002.tfrecord"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"00002\.tfrecord: record 3"):
        images[np.array([10])]


def test_keys_of_tfrecord_files_are_none_of_packings(tmp_path):
    with pytest.raises(UserError, match=r"data.image_size has no effect"):
        load(tmp_path, image_size=32)
