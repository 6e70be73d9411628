"""Which channels go for a share of what a network costs."""

import itertools
from dataclasses import dataclass

import keras
import numpy as np
import pytest

from kbp import graph, sparsity
from kbp.sparsity.budget import BUDGETS, allocate
from kbp.sparsity.channels.cost import Cost
from kbp.sparsity.masks import masked_layers

layers = keras.layers


@dataclass
class Times:
    """Milliseconds that are a formula of the channels."""

    formula: object

    def at(self, inputs, outputs):
        return self.formula(np.asarray(inputs), np.asarray(outputs))


@dataclass
class Operation:
    layer: str
    milliseconds: float
    times: Times


@dataclass
class Table:
    operations: list
    whole: object = np.asarray


def network():
    """Return a chain of convolutions, the second with a skip around it."""
    x = image = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", name="first")(x)
    y = layers.Conv2D(12, 3, padding="same", name="wide")(x)
    y = layers.Conv2D(8, 3, padding="same", name="back")(y)
    x = layers.GlobalAveragePooling2D(name="mean")(layers.Add()([x, y]))
    return keras.Model(image, layers.Dense(4, name="classes")(x))


def gated():
    return sparsity.apply_dtm(
        network(), granularity="channel", protect_ends=False
    )


# The channels of each layer, and a share that depends on none.
TABLE = Table(
    [
        Operation("first", 32.0, Times(lambda i, o: 8 + i * o)),
        Operation("wide", 96.0, Times(lambda i, o: i * o)),
        Operation("back", 96.0, Times(lambda i, o: i * o)),
        Operation("mean", 8.0, Times(lambda i, o: i * 1.0)),
        Operation("classes", 32.0, Times(lambda i, o: i * o)),
        Operation("", 10.0, Times(lambda i, o: 0 * i)),
    ]
)


@pytest.fixture(scope="module")
def cost():
    masked = gated()
    return Cost(graph.flatten(masked), masked_layers(masked), "latency", TABLE)


def milliseconds(narrow, wide):
    """Return what the network takes with so many channels in its two gates."""
    return (8 + 3 * narrow) + 2 * narrow * wide + narrow + 4 * narrow + 10


def test_latency_is_that_of_the_channels_that_stay(cost):
    sizes = cost.sizes.tolist()
    assert sorted(sizes) == [8, 12]
    first = sizes.index(8)
    counts = np.array([[0, 0], [3, 0], [0, 5], [7, 11]])
    expected = [
        milliseconds(8 - row[first], 12 - row[1 - first]) for row in counts
    ]
    np.testing.assert_allclose(cost.left(counts), expected)
    assert cost.total == pytest.approx(expected[0])
    for row, value in zip(counts, expected, strict=True):
        assert cost.removed(row) == pytest.approx(1 - value / expected[0])


def test_latency_is_what_the_table_predicts():
    """Not the sum of its operations, beside which a network takes its time."""
    masked = gated()
    table = Table(TABLE.operations, whole=lambda x: 2 * np.asarray(x) + 50)
    found = Cost(graph.flatten(masked), masked_layers(masked), "latency", table)
    first = found.sizes.tolist().index(8)
    counts = np.array([[0, 0], [3, 5], [7, 11]])
    expected = [
        2 * milliseconds(8 - row[first], 12 - row[1 - first]) + 50
        for row in counts
    ]
    np.testing.assert_allclose(found.left(counts), expected)


@pytest.mark.long
@pytest.mark.parametrize("measure", ["parameters", "multiply_adds"])
def test_costs_of_many_counts_are_those_of_each(measure):
    masked = gated()
    found = Cost(graph.flatten(masked), masked_layers(masked), measure)
    rows = np.random.default_rng(0).integers(0, 8, (20, 2))
    np.testing.assert_allclose(
        found.removed(rows), [found.removed(row) for row in rows]
    )


def test_a_table_of_another_network_is_refused():
    masked = gated()
    table = Table([Operation("other", 1.0, Times(lambda i, o: i * o))])
    schedule = sparsity.DTMSchedule(0.5, measure="latency", table=table)
    with pytest.raises(ValueError, match="table` is of another network"):
        schedule.check(masked)
    for options in ({"measure": "latency"}, {"table": TABLE}):
        with pytest.raises(ValueError, match=r"latency_table\(model\)"):
            sparsity.DTMSchedule(0.5, **options)


def test_masks_on_single_weights_save_no_time():
    masked = sparsity.apply_dtm(network())
    schedule = sparsity.DTMSchedule(0.5, measure="latency", table=TABLE)
    with pytest.raises(ValueError, match="zeros take as long"):
        schedule.check(masked)


def rounded(sizes):
    def keep_one(counts):
        return [min(c, s - 1) for c, s in zip(counts, sizes, strict=True)]

    return keep_one


def worth(scores, counts):
    """Return the product of the shares of the squares that stay, as a log."""
    shares = [
        np.sort(s**2)[count:].sum() / (s**2).sum()
        for s, count in zip(scores, counts, strict=True)
    ]
    return np.log(shares).sum()


@pytest.mark.parametrize("seed", range(6))
def test_knapsack_is_near_the_best_choice_of_all(seed):
    """What layers cost depends on each other, as in a chain of them."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(4, 9, 4)
    scores = [rng.gamma(1.0, size=size) for size in sizes]
    weight = rng.uniform(0.5, 2.0, 5)

    def removed(counts):
        stays = (sizes - np.asarray(counts)) / sizes
        ones = np.ones((*stays.shape[:-1], 1))
        chain = np.concatenate([ones, stays, ones], axis=-1)
        parts = weight * chain[..., :-1] * chain[..., 1:]
        return 1 - parts.sum(axis=-1) / weight.sum()

    for share in (0.3, 0.6):
        found = allocate(
            scores,
            share,
            budget="knapsack",
            rounded=rounded(sizes),
            removed=removed,
        )
        assert removed(found) >= share
        everything = itertools.product(*(range(size) for size in sizes))
        best = max(
            worth(scores, counts)
            for counts in everything
            if removed(counts) >= share
        )
        assert worth(scores, found) >= 1.25 * best - 0.05
        others = {
            budget: allocate(
                scores,
                share,
                budget=budget,
                rounded=rounded(sizes),
                removed=removed,
            )
            for budget in BUDGETS
        }
        assert worth(scores, found) >= worth(scores, others["uniform"])


def test_knapsack_reaches_what_only_almost_all_reach():
    sizes = [5, 7]
    scores = [np.arange(1.0, size + 1) for size in sizes]

    def removed(counts):
        return np.sum(counts, axis=-1) / sum(sizes)

    found = allocate(
        scores,
        10 / 12,
        budget="knapsack",
        rounded=rounded(sizes),
        removed=removed,
    )
    assert found == [4, 6]
    nothing = allocate(
        scores, 0.0, budget="knapsack", rounded=rounded(sizes), removed=removed
    )
    assert nothing == [0, 0]


def test_training_ends_at_the_latency_that_was_asked_for():
    keras.utils.set_random_seed(0)
    masked = gated()
    masked.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(64, 8, 8, 3))
    schedule = sparsity.DTMSchedule(
        0.5, measure="latency", table=TABLE, budget="knapsack"
    )
    masked.fit(x, x.mean(axis=(1, 2)) @ np.ones((3, 4)), 8, 3, 0, [schedule])
    small = sparsity.shrink(masked)
    narrow = small.get_layer("first").filters
    wide = small.get_layer("wide").filters
    share = milliseconds(narrow, wide) / milliseconds(8, 12)
    assert 0.4 < share <= 0.5
