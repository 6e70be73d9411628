"""Arrays that are read by index: the numbers of those in memory."""

import fresh
import numpy as np
import pytest
import tensorflow as tf
from lazily import Held

from kbp import data
from kbp.data import Examples
from kbp.data.lazy import chunks
from kbp.data.splits import as_floats
from kbp.errors import UserError


@pytest.fixture
def array():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (50, 4, 3, 1), "uint8")


KEYS = {
    "a slice": slice(3, 20),
    "a slice with a step": slice(40, 3, -7),
    "a slice beyond the end": slice(45, 99),
    "indices": np.array([7, -1, 7, 0]),
    "no index": np.array([], int),
    "a list": [3, 2],
    "a mask": np.arange(50) % 3 == 0,
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_parts_are_those_of_an_array(array, key):
    lazy, key = Held(array), np.array(key) if isinstance(key, list) else key
    np.testing.assert_array_equal(lazy[key], array[key])
    view = lazy.view(key)
    assert (view.shape, view.dtype) == (array[key].shape, array.dtype)
    np.testing.assert_array_equal(view[:], array[key])
    np.testing.assert_array_equal(view.view(slice(1, None))[:], array[key][1:])


def test_one_example_has_no_axis_of_examples(array):
    lazy = Held(array)
    for index in (0, -1, np.int32(4)):
        np.testing.assert_array_equal(lazy[index], array[index])


@pytest.mark.parametrize("index", [50, -51])
def test_what_is_not_there_is_an_index_error(array, index):
    for read in (lambda: Held(array)[index], lambda: Held(array)[[index]]):
        with pytest.raises(IndexError, match="no index of 50 examples"):
            read()


@pytest.mark.parametrize("key", [1.5, "a", np.zeros((2, 2), int), (1, 2.5)])
def test_other_keys_are_refused(array, key):
    with pytest.raises(TypeError, match="by a number, a slice or an array"):
        Held(array)[key]


@pytest.mark.parametrize("function", [np.asarray, np.sum, tf.constant])
def test_nothing_reads_all_of_it_by_accident(array, function):
    lazy = Held(array)
    with pytest.raises((TypeError, ValueError), match=r"read by index|Attempt"):
        function(lazy)
    assert not lazy.largest


@pytest.mark.parametrize("size", [None, 1, 7, 50, 100])
def test_chunks_are_all_examples_in_order(array, size):
    for each in (array, Held(array, size)):
        parts = [*chunks(each, size)]
        np.testing.assert_array_equal(np.concatenate(parts), array)
        assert max(map(len, parts)) <= (size or 50)


def test_bytes_are_floats_of_0_to_1_as_in_memory(array):
    lazy = as_floats(Held(array))
    assert lazy.dtype == "float32"
    np.testing.assert_array_equal(lazy[:], as_floats(array))
    assert as_floats(lazy) is lazy


def examples(array, kind, labels=None):
    labels = np.arange(len(array)) if labels is None else labels
    names = tuple(f"{i}.png" for i in range(len(array)))
    return Examples(kind(array), labels, names)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("masks", [False, True])
def test_batches_are_those_in_memory_bit_for_bit(array, dtype, masks):
    array = array.astype(dtype)
    labels = array[..., 0].astype("int32") if masks else np.arange(50)
    lazy = Examples(Held(array), Held(labels) if masks else labels)
    known = Examples(array, labels)
    augment = data.affine(rotation=20, flip=True)
    chosen = np.array([3, 30, 7, 3, 8, 9, 11, 12])
    for make in (
        lambda x: data.training_batches(x, 8, seed=3).take(14),
        lambda x: data.training_batches(
            x, 8, seed=3, start_step=9, augment=augment
        ).take(5),
        lambda x: data.evaluation_batches(x, 8),
        lambda x: data.sample_batches(x, 8, 1),
        lambda x: data.evaluation_batches(x.take(chosen), 3),
    ):
        pairs = [*zip(make(lazy), make(known), strict=True)]
        assert len(pairs) > 2
        for found, right in pairs:
            for a, b in zip(found, right, strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)


def test_shapes_are_known_before_anything_is_read(array):
    lazy = Held(array)
    for batches in (
        data.training_batches(examples(lazy, lambda x: x), 8, seed=0),
        data.training_batches(examples(array, lambda x: x), 8, seed=0),
    ):
        x, y = batches.element_spec
        assert (x.shape, x.dtype) == ((8, 4, 3, 1), "float32")
        assert y.shape == (8,)
    assert not lazy.largest


def test_no_more_than_a_batch_is_read_at_once(array):
    lazy = Held(array, most=8)
    for _ in data.training_batches(examples(lazy, lambda x: x), 8, seed=0).take(
        9
    ):
        pass
    assert lazy.largest == 8


def test_taking_reads_nothing(array):
    lazy = Held(array)
    taken = examples(lazy, lambda x: x).take(np.array([4, 2]))
    assert not lazy.largest
    assert taken.names == ("4.png", "2.png")
    np.testing.assert_array_equal(taken.inputs[:], array[[4, 2]])


def test_an_example_that_cannot_be_read_stops_the_batches(array):
    class Damaged(Held):
        def read(self, indices):
            raise UserError("a.png: is damaged.")

    with pytest.raises(tf.errors.OpError, match=r"a\.png: is damaged"):
        next(iter(data.evaluation_batches(examples(array, Damaged), 8)))


@pytest.mark.long
def test_python_ends_well_though_batches_are_read_ahead():
    fresh.python(
        """
import numpy as np
from kbp import data
from kbp.data.lazy import Lazy

class Zeros(Lazy):
    def read(self, indices):
        return np.zeros((len(indices), 64, 64), "uint8")

examples = data.Examples(Zeros((900, 64, 64), "uint8"), np.zeros(900, int))
kept = iter(data.training_batches(examples, 300, seed=0))
next(kept)
"""
    )
