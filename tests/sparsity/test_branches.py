"""Branches are left out one by one, those that a network can spare."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

import kbp
from kbp import graph, sparsity
from kbp.errors import UserError

RNG = np.random.default_rng(0)


def chain(count=4, width=6):
    """Return a network of branches that differ in what they do."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((width,))
    x = inputs
    for number in range(count):
        hidden = layers.Dense(8 + 4 * number, "relu", name=f"up_{number}")(x)
        branch = layers.Dense(width, name=f"down_{number}")(hidden)
        x = layers.Add()([x, branch]) if number % 2 else x + branch
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    model.compile("sgd", "mse")
    return model


X = RNG.normal(size=(64, 6)).astype("float32")
Y = RNG.normal(size=(64, 2)).astype("float32")


def by_hand(model, left):
    """Return the outputs of `chain` with some branches alone."""
    x = X
    for number in left:
        up = model.get_layer(f"up_{number}")
        x = x + model.get_layer(f"down_{number}")(up(x))
    return keras.ops.convert_to_numpy(model.get_layer("head")(x))


def left_in(model):
    names = [layer.name for layer in model.layers]
    return [int(x.removeprefix("up_")) for x in names if x.startswith("up_")]


@pytest.mark.parametrize("measure", ["multiply_adds", "parameters"])
def test_the_next_branch_is_the_one_that_costs_least_for_what_it_saves(measure):
    model = chain()
    left = [0, 1, 2, 3]

    def loss(numbers):
        return np.mean((by_hand(model, numbers) - Y) ** 2)

    def size(numbers):
        both = [8 + 4 * n for n in numbers]
        biases = measure == "parameters"
        return sum(12 * n + biases * (n + 6) for n in both)

    whole = size(left) + 12 + 2 * (measure == "parameters")
    for _ in range(3):
        now, saved = loss(left), {n: size([n]) for n in left}
        rises = {
            n: (loss([x for x in left if x != n]) - now) / saved[n]
            for n in left
        }
        left.remove(min(rises, key=rises.get))
        share = 1 - (whole - size([0, 1, 2, 3]) + size(left)) / whole
        small = sparsity.drop_branches(
            model, X, Y, share=share - 1e-6, measure=measure
        )
        assert left_in(small) == left
        np.testing.assert_allclose(
            small.predict(X, verbose=0), by_hand(model, left), atol=1e-5
        )
    assert left_in(model) == [0, 1, 2, 3]


def networks():
    yield kbp.models.ResNet((16, 16, 3), 3, width=8, num_blocks=2)
    yield kbp.models.BPTransformer((12, 4), 3, num_layers=2, width=8)
    inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(6, 3, padding="same")(inputs)  # its skip is cheaper
    x = layers.Add()([layers.Conv2D(6, 1)(inputs), x])
    yield keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


@pytest.mark.long
@pytest.mark.parametrize("number", range(3))
def test_what_is_left_computes_what_it_did(number):
    model = [*networks()][number]
    x = RNG.normal(size=(4, *model.input_shape[1:])).astype("float32")
    y = RNG.normal(size=(4, *model.output_shape[1:])).astype("float32")
    model.compile("sgd", "mse")
    small = sparsity.drop_branches(model, x, y, share=0.1)
    assert len(small.layers) < len(graph.flatten(model).layers)
    cost = [
        sum(map(sparsity.multiply_adds, graph.nodes(graph.flatten(m))))
        for m in (model, small)
    ]
    assert cost[1] <= 0.9 * cost[0]
    kept = {layer.name: layer for layer in graph.flatten(model).layers}
    for layer in (x for x in small.layers if x.weights):
        for one, other in zip(
            layer.get_weights(), kept[layer.name].get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    # It goes on as any network does.
    small.compile("sgd", "mse")
    small.fit(x, y, verbose=0)
    assert small.input_shape == model.input_shape
    assert small.output_shape == model.output_shape


@pytest.mark.long
def test_a_table_serves_for_what_is_left():
    model = kbp.models.ResNet((16, 16, 3), 3, width=16, num_blocks=2)
    x = RNG.normal(size=(8, 16, 16, 3)).astype("float32")
    y = RNG.normal(size=(8, 3)).astype("float32")
    table = kbp.export.latency_table(model, rounds=2, cache=None)
    model.compile("sgd", "mse")
    small = sparsity.drop_branches(
        model, x, y, share=0.2, measure="latency", table=table
    )
    left = table.predict(small) / table.predict(model)
    assert 0.3 < left <= 0.8
    masked = sparsity.apply_dtm(small, granularity="channel")
    masked.compile("sgd", "mse")
    schedule = sparsity.DTMSchedule(
        0.3, measure="latency", table=table, budget="knapsack", begin=0, end=0.9
    )
    masked.fit(x, y, epochs=4, verbose=0, callbacks=[schedule])
    smaller = sparsity.shrink(masked)
    assert table.predict(smaller) <= 0.71 * table.predict(small)


def test_a_target_is_a_share_of_the_whole_network():
    model = chain()
    small = sparsity.drop_branches(model, X, Y, share=0.3, measure="parameters")
    masked = sparsity.apply_dtm(
        small, granularity="channel", protect_ends=False
    )
    masked.compile(keras.optimizers.SGD(0.0), "mse")
    options = {"measure": "parameters", "budget": "knapsack", "whole": model}
    for target in (0.6, 0.1):
        schedule = sparsity.DTMSchedule(target, **options)
        masked.fit(X, Y, epochs=2, verbose=0, callbacks=[schedule])
        left = sparsity.shrink(masked).count_params()
        if target == 0.1:  # branches alone are more
            assert left == small.count_params() <= 0.7 * model.count_params()
        else:  # as near as whole channels come
            assert 0.36 < left / model.count_params() <= 0.4
    with pytest.raises(
        UserError, match=r"at most of the \d\d\.\d% that is left"
    ):
        sparsity.DTMSchedule(0.99, **options).check(masked)
    with pytest.raises(ValueError, match="`whole` needs a measure"):
        sparsity.DTMSchedule(0.5, whole=model)


class Table:
    """Of `chain`: a millisecond for each layer with weights, and one more."""

    def __init__(self, model):
        names = [layer.name for layer in model.layers if layer.weights]
        self.operations = [
            SimpleNamespace(layer=name, milliseconds=1.0)
            for name in [*names, ""]
        ]

    def whole(self, together):
        return together


@pytest.mark.parametrize("share", [0.15, 0.35, 0.55, 0.75])
@pytest.mark.parametrize("measure", sparsity.schedule.COSTS)
def test_trained_after_each_branch_no_more_leave_than_asked(measure, share):
    model, seen = chain(), []
    table = Table(model) if measure == "latency" else None

    def train(left):
        seen.append(left_in(left))
        left.compile("sgd", "mse")

    options = {"share": share, "measure": measure, "table": table}
    at_once = sparsity.drop_branches(model, X, Y, **options)
    small = sparsity.drop_branches(model, X, Y, train=train, **options)
    # Nothing was trained, so both are the same.
    assert left_in(small) == left_in(at_once) == seen[-1]
    assert [len(left) for left in seen] == [*range(3, 3 - len(seen), -1)]


def test_what_is_left_trains_after_each_branch():
    model, seen = chain(), []

    def train(left):
        seen.append(left_in(left))
        assert not left.compiled
        left.compile("sgd", "mse")
        # Now the first one does harm.
        first = left.get_layer(f"down_{seen[-1][0]}")
        first.set_weights([100 * np.sign(x) for x in first.get_weights()])

    small = sparsity.drop_branches(model, X, Y, share=0.6, train=train)
    (whole, left) = (
        sum(map(sparsity.multiply_adds, graph.nodes(graph.flatten(m))))
        for m in (model, small)
    )
    assert left <= 0.4 * whole
    assert len(seen[0]) == len(left_in(model)) - 1
    assert [seen[0][1:], seen[0][2:]] == seen[1:]
    assert seen[-1] == left_in(small)
    with pytest.raises(UserError, match="must be compiled"):
        sparsity.drop_branches(model, X, Y, share=0.6, train=lambda left: None)


def test_branches_that_a_network_needs_stay():
    """Inputs of their own, other shapes, and what is one of no sum of two."""
    a, b = keras.Input((6,)), keras.Input((6,))
    towers = layers.Add()([layers.Dense(6)(a), layers.Dense(6)(b)])
    wide = layers.Reshape((6, 1))(towers) + layers.Reshape((1, 6))(towers)
    model = keras.Model([a, b], layers.Flatten()(wide))
    model.compile("sgd", "mse")
    with pytest.raises(UserError, match="are 0% of its multiply_adds"):
        sparsity.drop_branches(model, [X, X], np.zeros((64, 36)), share=0.1)


def test_wrong_arguments_are_named():
    model = chain()
    for options, words in (
        ({"share": 1.0}, "`share` must be in"),
        ({"share": 0.1, "measure": "masks"}, "measure='masks'"),
        ({"share": 0.1, "measure": "latency"}, "`table` belongs to"),
    ):
        with pytest.raises(ValueError, match=words):
            sparsity.drop_branches(model, X, Y, **options)
    with pytest.raises(UserError, match="must be compiled"):
        sparsity.drop_branches(graph.plain(model), X, Y, share=0.1)
