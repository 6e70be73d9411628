"""Shares of batches: together the batches, with nothing else read."""

import numpy as np
import pytest
import tensorflow as tf

from kbp import data
from kbp.data.lazy import Lazy
from kbp.data.shares import WHOLE, Rows, Shares

SIZE = 12  # which 1, 2, 3 and 4 divide, and 8 does not
PIXELS = np.random.default_rng(0).random((50, 8, 8, 2), "float32")
MASKS = np.random.default_rng(1).integers(0, 3, (50, 8, 8))
ALL = {
    "flip": True,
    "rotation": 30.0,
    "zoom": 0.3,
    "elastic": 1.5,
    "intensity": 0.3,
}


def whole(images, masks, seed):
    """Change a batch by what only the whole of it tells."""
    noise = tf.random.stateless_uniform(tf.shape(images), seed)
    return tf.reverse(images, [0]) + noise, tf.reverse(masks, [0])


AUGMENTS = {
    "one's own, of whole batches": whole,
    "none": None,
    "affine": data.affine(rotation=30, shift=0.2, zoom=0.3, flip=True),
    "crop": data.crop_and_flip(padding=2),
    "deform": data.deform(**ALL),
    "deform a crop": data.deform(crop_size=6, **ALL),
}


class Noted(Lazy):
    """Images that note what is read of them."""

    def __init__(self):
        super().__init__(PIXELS.shape, PIXELS.dtype)
        self.seen = []

    def read(self, indices):
        self.seen.extend(indices.tolist())
        return PIXELS[indices]


def workers(count, replicas=1):
    """Return the shares of each worker."""
    total = count * replicas
    return [Shares(i * replicas, replicas, total) for i in range(count)]


def joined(make, shares, steps):
    """Return the batches that workers have together, in order."""
    parts = [
        iter(make(each).take(steps * each.count).as_numpy_iterator())
        for each in shares
    ]
    return [
        [
            np.concatenate(arrays)
            for arrays in zip(
                *(
                    next(part)
                    for part, each in zip(parts, shares, strict=True)
                    for _ in range(each.count)
                ),
                strict=True,
            )
        ]
        for _ in range(steps)
    ]


def assert_same(found, right):
    for one, other in zip(found, right, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.long
@pytest.mark.parametrize("augment", AUGMENTS)
def test_shares_are_the_batches_of_one_worker_bit_by_bit(augment):
    examples = data.Examples(PIXELS, MASKS)

    def make(shares):
        return data.training_batches(
            examples,
            SIZE,
            seed=3,
            start_step=2,
            augment=AUGMENTS[augment],
            shares=shares,
        )

    right = joined(make, [WHOLE], 3)
    for several in (workers(2), workers(4), workers(8), workers(2, 2)):
        assert_same(joined(make, several, 3), right)


@pytest.mark.long
@pytest.mark.parametrize("size", [1, 5, 12, 24, 49, 50, 64])
def test_evaluation_in_shares_leaves_out_no_example(size):
    examples = data.Examples(PIXELS, np.arange(50))
    steps = -(-50 // size)

    def make(shares):
        return data.evaluation_batches(examples, size, shares)

    right = joined(make, [WHOLE], steps)
    for several in (workers(2), workers(4), workers(1, 3)):
        assert_same(joined(make, several, steps), right)
        for each in several:
            assert len([*make(each)]) == steps * each.count


@pytest.mark.long
@pytest.mark.parametrize("count", [1, 2, 3, 4, 12])
def test_an_epoch_of_all_workers_reads_every_example_once(count):
    seen = []
    for shares in workers(count):
        images = Noted()
        batches = data.training_batches(
            data.Examples(images, np.arange(50)), SIZE, seed=1, shares=shares
        )
        found = [y for _, y in batches.take(4).as_numpy_iterator()]
        # The order of threads is not that of batches, and some read ahead.
        assert {*np.ravel(found)} <= {*images.seen}
        assert len(found[0]) == SIZE // count
        seen += np.ravel(found).tolist()
        others = data.training_batches(
            data.Examples(PIXELS, np.arange(50)), SIZE, seed=1
        )
        ahead = [y for _, y in others.take(20).as_numpy_iterator()]
        own = slice(*(SIZE // count * (shares.first + i) for i in (0, 1)))
        assert {*images.seen} <= {*np.ravel([y[own] for y in ahead])}
    assert len({*seen}) == len(seen) == 48


def test_other_workers_go_on_with_the_same_batches():
    examples = data.Examples(PIXELS, np.arange(50))

    def make(start):
        return lambda shares: data.training_batches(
            examples, SIZE, seed=3, start_step=start, shares=shares
        )

    right = joined(make(0), [WHOLE], 7)
    found = joined(make(0), workers(4), 3) + joined(make(3), workers(2), 4)
    assert_same(found, right)


def test_batches_that_come_whole_are_divided_alike():
    stream = tf.data.Dataset.range(50).batch(SIZE)
    pairs = stream.map(lambda x: (x, {"a": x * 2}))
    for several in (workers(2), workers(4), workers(2, 2)):
        parts = [[*x.of(pairs).as_numpy_iterator()] for x in several]
        assert sum(map(len, parts)) == 5 * several[0].total
        found = sorted(x for part in parts for y, _ in part for x in y)
        assert found == [*range(50)]
        for part in parts:
            for y, held in part:
                np.testing.assert_array_equal(held["a"], 2 * y)
    assert WHOLE.of(pairs) is pairs


def test_rows_divide_any_batch():
    for total in (1, 2, 3, 7):
        for size in (0, 1, 5, 12):
            rows = [Shares(total=total).rows(i, size) for i in range(total)]
            places = [range(x.first, x.first + x.count) for x in rows]
            assert [x for part in places for x in part] == [*range(size)]
            assert max(map(len, places)) - min(map(len, places)) <= 1
    assert Rows.all_of(tf.zeros((3, 2))).of(tf.range(3)).shape == (3,)
