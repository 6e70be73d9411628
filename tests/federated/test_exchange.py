"""What goes over the wire, and in how few bytes."""

import keras
import numpy as np
import pytest

from kbp.federated import deltas
from kbp.federated.exchange import Exchange, pooled
from kbp.federated.records import as_arrays, as_record
from kbp.training.checkpoint import seed_states


def network():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5),
            layers.BatchNormalization(momentum=0.9),
            layers.Dropout(0.5),
            layers.Dense(2),
        ]
    )


def test_floats_are_exchanged_by_names_that_no_process_changes():
    first, second = network(), network()  # whose layers' names differ
    names = [Exchange(model) for model in (first, second)]
    assert [*names[0].variables] == [*names[1].variables]
    assert len(names[0].variables) == 8
    assert len(seed_states(first)) == 1
    assert names[0].statistics == {"4.moving_mean", "5.moving_variance"}
    assert len(names[0].of_batch_norm) == 4
    names[1].write(names[0].read())
    x = np.random.default_rng(0).normal(size=(3, 6))
    assert np.array_equal(first.predict(x), second.predict(x))


def test_records_hold_what_arrays_were():
    arrays = {"b": np.float32([[1, 2]]), "a": np.int64(7), "c": np.array(True)}
    back = as_arrays(as_record(arrays))
    assert [*back] == [*arrays]
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        assert np.array_equal(back[name], array)


def test_moments_of_a_round_are_those_of_its_batches():
    model = network()
    exchange = Exchange(model)
    norm = model.layers[1]
    norm.moving_mean.assign(np.full(5, 100.0))
    before = exchange.read()
    rng = np.random.default_rng(0)
    batches = rng.normal(3.0, 2.0, size=(4, 64, 5)).astype("float32")
    for batch in batches:
        norm(batch, training=True)
    found = exchange.moments_of_round(before, steps=4)
    # NumPy: an exponential average that begins with the round.
    weights = 0.9 ** np.arange(4)[::-1]
    for name, each in (
        ("4.moving_mean", batches.mean(axis=1)),
        ("5.moving_variance", batches.var(axis=1)),
    ):
        wanted = np.average(each.astype("float64"), axis=0, weights=weights)
        np.testing.assert_allclose(found[name], wanted, rtol=1e-4)
    norm.momentum = 1.0  # moves nothing, so there is nothing to take out
    assert Exchange(model).moments_of_round(before, steps=4) == {}


def test_variances_of_constant_channels_are_not_negative():
    model = network()
    exchange, norm = Exchange(model), model.layers[1]
    rng = np.random.default_rng(0)
    for _ in range(50):
        norm.moving_variance.assign(np.abs(rng.normal(size=5)))
        before = exchange.read()
        for _ in range(6):
            norm(np.full((4, 5), 3.0), training=True)
        found = exchange.moments_of_round(before, steps=6)
        variances = found["5.moving_variance"]
        assert (variances >= 0).all()
        np.testing.assert_allclose(variances, 0, atol=1e-5)


def test_pooled_moments_are_those_of_all_values():
    exchange = Exchange(network())
    rng = np.random.default_rng(0)
    parts = [rng.normal(n, 1 + n, size=(50 * (n + 1), 5)) for n in range(3)]
    arrays = [
        {"4.moving_mean": p.mean(axis=0), "5.moving_variance": p.var(axis=0)}
        for p in parts
    ]
    found = pooled(exchange, arrays, [len(p) for p in parts])
    every = np.concatenate(parts)
    np.testing.assert_allclose(
        found["4.moving_mean"], every.mean(axis=0), rtol=1e-6
    )
    np.testing.assert_allclose(
        found["5.moving_variance"], every.var(axis=0), rtol=1e-6
    )


def changes(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "kernel": rng.normal(size=(40, 30)).astype("float32"),
        "bias": (1e-4 * rng.normal(size=30)).astype("float32"),
        "still": np.zeros(3, "float32"),
        "one": np.float32(0.25),
        "none": np.zeros((0, 4), "float32"),
    }


def test_changes_in_eight_bits_are_within_half_a_level():
    found = changes()
    sent, left = deltas.encode(found, {})
    assert deltas.is_encoded(sent)
    assert not deltas.is_encoded(found)
    back = deltas.decode(sent, found)
    for name, change in found.items():
        level = np.abs(change).max(initial=0) / 127
        np.testing.assert_allclose(back[name], change, atol=level / 2 * 1.001)
        np.testing.assert_allclose(back[name] + left[name], change, atol=1e-7)
        assert back[name].shape == change.shape


def test_rounding_errors_are_sent_later():
    """The sum of what was sent stays within a level of the sum of changes."""
    residual, wanted, given = {}, 0.0, 0.0
    for seed in range(50):
        found = changes(seed)
        sent, residual = deltas.encode(found, residual)
        wanted = wanted + found["kernel"].astype("float64")
        given = given + deltas.decode(sent, found)["kernel"].astype("float64")
    np.testing.assert_allclose(wanted - given, residual["kernel"], atol=1e-4)
    level = sent["scales"][0]
    assert np.abs(wanted - given).max() <= 0.51 * level


def test_bytes_are_a_quarter():
    model = keras.Sequential(
        [keras.Input((64,)), *(keras.layers.Dense(64) for _ in range(6))]
    )
    arrays = Exchange(model).read()
    sent, _ = deltas.encode(arrays, {})
    whole = as_record(arrays).count_bytes()
    assert as_record(sent).count_bytes() / whole < 0.26


def test_what_is_not_finite_shows():
    sent, _ = deltas.encode({"a": np.float32([1.0, np.nan])}, {})
    assert not np.isfinite(deltas.decode(sent, {"a": np.zeros(2)})["a"]).all()


@pytest.mark.parametrize(
    "sent",
    [
        {"changes": np.zeros(3, "int8"), "scales": np.zeros(1, "float32")},
        {"changes": np.zeros(4, "int8"), "scales": np.zeros(2, "float32")},
    ],
    ids=["values", "scales"],
)
def test_changes_of_another_size_are_refused(sent):
    with pytest.raises(ValueError, match="values in"):
        deltas.decode(sent, {"a": np.zeros(4)})
