"""Data sets, and batches as a function of (seed, step)."""

import os

import numpy as np
import pytest
import tensorflow as tf

from kbp import data
from kbp.data import Examples
from kbp.data.datasets import cifar10, digits
from kbp.data.lazy import looked_up
from kbp.data.splitting import by_class, by_hash
from kbp.errors import UserError

SEED = tf.constant([0, 0], tf.int64)


@pytest.fixture
def examples():
    return Examples(np.arange(50, dtype="float32")[:, None], np.arange(50))


def labels(dataset, count):
    return [y.numpy().tolist() for _, y in dataset.take(count)]


def test_batch_depends_on_seed_and_step_alone(examples):
    batches = labels(data.training_batches(examples, 8, seed=3), 20)
    for start in (1, 7, 13):
        later = data.training_batches(examples, 8, seed=3, start_step=start)
        assert labels(later, 5) == batches[start : start + 5]
    assert labels(data.training_batches(examples, 8, seed=4), 20) != batches


def test_epoch_is_a_permutation_without_repeats(examples):
    batches = labels(data.training_batches(examples, 8, seed=0), 12)
    assert data.steps_per_epoch(examples, 8) == 6
    epochs = np.reshape(batches, (2, 48)).tolist()
    for epoch in epochs:
        assert len(set(epoch)) == 48
    assert epochs[0] != epochs[1]


def test_inputs_stay_with_their_labels(examples):
    for x, y in data.training_batches(examples, 8, seed=0).take(3):
        np.testing.assert_array_equal(x.numpy()[:, 0], y.numpy())


def test_evaluation_gives_every_example_once_in_order(examples):
    batches = list(data.evaluation_batches(examples, 8))
    order = np.concatenate([y.numpy() for _, y in batches])
    np.testing.assert_array_equal(order, np.arange(50))
    assert len(batches[-1][1]) == 2


def test_augmentation_is_a_function_of_its_seed():
    images = np.random.default_rng(0).random((4, 8, 8, 1), "float32")
    augment = data.affine(rotation=20, shift=0.2, zoom=0.2, flip=True)
    once, again, other = (
        augment(images, None, tf.constant(seed, tf.int64))[0].numpy()
        for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)
    assert once.shape == images.shape


def test_augmentation_of_nothing_is_nothing():
    assert data.affine() is None


def test_zero_movement_would_leave_images_alone():
    images = np.random.default_rng(0).random((4, 8, 8, 1), "float32")
    augment = data.affine(rotation=1e-9)
    moved = augment(images, None, SEED)[0].numpy()
    np.testing.assert_allclose(moved, images, atol=1e-5)


def test_flip_mirrors_some_images_exactly():
    images = np.random.default_rng(0).random((32, 8, 8, 3), "float32")
    augment = data.affine(flip=True)
    moved = augment(images, None, SEED)[0].numpy()
    same = np.abs(moved - images).max(axis=(1, 2, 3)) < 1e-5
    mirrored = np.abs(moved - images[:, :, ::-1]).max(axis=(1, 2, 3)) < 1e-5
    assert np.all(same ^ mirrored)
    assert 4 < mirrored.sum() < 28


def test_shift_moves_by_at_most_its_part_of_the_size():
    image = np.zeros((64, 32, 32, 1), "float32")
    image[:, 16, 16] = 1
    augment = data.affine(shift=0.125)
    moved = augment(image, None, SEED)[0].numpy()
    rows, columns = np.nonzero(moved.sum(axis=(0, 3)))
    for positions in (rows, columns):
        assert positions.min() >= 11
        assert positions.max() <= 21
        assert np.ptp(positions) > 4


def test_digits_are_split_by_class_and_without_overlap():
    splits = digits.load(image_size=16)
    sizes = [len(getattr(splits, s)) for s in ("train", "validation", "test")]
    assert sum(sizes) == 1797
    assert sizes[2] == 360
    assert splits.input_shape == (16, 16, 1)
    rows = [
        {x.tobytes() for x in getattr(splits, s).inputs}
        for s in ("train", "validation", "test")
    ]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    counts = np.bincount(splits.test.labels)
    assert counts.min() >= 34
    assert counts.max() <= 38
    assert splits.train.inputs.min() == 0
    assert 0.99 < splits.train.inputs.max() <= 1


def test_digits_are_the_same_in_every_run():
    first, second = digits.load(), digits.load()
    np.testing.assert_array_equal(first.test.labels, second.test.labels)
    np.testing.assert_array_equal(first.train.inputs, second.train.inputs)


def test_digits_without_validation():
    splits = digits.load(validation_fraction=0.0)
    assert len(splits.validation) == 0
    assert len(splits.train) + len(splits.test) == 1797


@pytest.fixture
def cifar_folder(tmp_path):
    """Write files of CIFAR-10's layout: label, then 1024 bytes a channel."""
    folder = tmp_path / cifar10.FOLDER
    folder.mkdir()
    records = np.zeros((10_000, 3073), np.uint8)
    records[:, 0] = np.arange(10_000) % 10
    records[:, 1] = 255  # red, row 0, column 0
    records[:, 1 + 1024 + 32] = 51  # green, row 1, column 0
    for name in (*cifar10.TRAIN_FILES, "test_batch.bin"):
        records.tofile(folder / name)
    return folder


@pytest.mark.long
def test_cifar10_is_read_in_its_publishers_layout(cifar_folder):
    splits = cifar10.load(cifar_folder.parent)
    assert [
        len(getattr(splits, s)) for s in ("train", "validation", "test")
    ] == [45_000, 5_000, 10_000]
    image = splits.train.inputs[3]
    assert image.shape == (32, 32, 3)
    assert image[0, 0, 0] == 1
    assert image[1, 0, 1] == pytest.approx(0.2)
    assert image.sum() == pytest.approx(1.2)
    assert splits.train.labels[:12].tolist() == [*range(10), 0, 1]


def test_missing_or_cut_file_is_named(cifar_folder, tmp_path):
    path = cifar_folder / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"data_batch_3.bin: expected 307300"):
        cifar10.load(cifar_folder.parent)
    path.unlink()
    with pytest.raises(UserError, match=r"data_batch_3.bin: missing"):
        cifar10.load(cifar_folder.parent)
    with pytest.raises(UserError, match="KBP_DATA"):
        cifar10.load(None)


def test_training_batches_have_fixed_shapes(examples):
    """A TPU compiles for them once."""
    inputs, labels = data.training_batches(examples, 4, seed=0).element_spec
    assert inputs.shape == (4, *examples.inputs.shape[1:])
    assert labels.shape == (4,)


def test_examples_stay_on_the_host(examples):
    with tf.device("CPU:1"):  # which stands for an accelerator
        found = [looked_up(x) for x in (examples.inputs, examples.labels)]
    held = [x.__closure__[0].cell_contents for x in found]
    assert all(tensor.device.endswith("CPU:0") for tensor in held)


def test_names_of_files_need_not_be_text():
    names = [os.fsdecode(b"caf\xe9%d.png" % number) for number in range(40)]
    for indices in (by_class(names, ["a"] * 40), by_hash(names)):
        whole = sorted(i for part in indices.values() for i in part)
        assert whole == [*range(40)]
