"""Masks take channels through structures of all kinds, and shrink removes them.

Every second channel group of each mask is closed. The table says how many
channels of all layers go by that; each row was counted by hand.
"""

import keras
import numpy as np
import pytest
from contracts import as_numpy
from graphs import randomized
from structures import mixed_graph, network, structures

import kbp
from kbp import sparsity

# Of `before` 4 of 8 channels go and of `behind` 3 of 6, unless the comment says
# that less do; the rest is of layers inside.
REMOVED = {
    "split_and_gate": 4 + 3 + 6,
    "split_unequally": 4 + 3 + 6 + 2,
    "split_and_keep_half": 4 + 3 + 3,  # of 12, the half that is not normalized
    "slices": 4 + 3 + 2,
    "overlapping_slices": 3 + 3,  # groups of 3, 3 and 2: the second one goes
    "stepped_slices": 4 + 3,  # pairs
    "reversed_slice": 4 + 3,
    "one_channel_slice": 3 + 3,  # of the 7 behind the gate
    "parametric_shared": 4 + 3 + 3,
    "parametric_per_position": 4 + 3 + 3,
    "parametric_of_one_slope": 4 + 3 + 3,
    "spatial_attention": 4 + 3,
    "channel_attention": 4 + 3 + 2 + 4,
    "reductions_of_signed_values": 4 + 3,
    "squeeze_and_excite": 4 + 3 + 2 + 4,
    "squeeze_with_new_axes": 4 + 3 + 4,
    "squeeze_with_expanded_axes": 4 + 3 + 4,
    "grouped": 4 + 3 + 4,
    "grouped_often": 4 + 3 + 8 + 8,  # 4 of 8 whole groups
    "grouped_residual": 4 + 3 + 6 + 6 + 4,
    "grouped_to_depths": 4 + 3 + 8,
    "channel_shuffle": 4 + 3 + 4 + 4,
    "shuffle_unit": 4 + 3 + 2 + 2,
    "shuffle_units": 4 + 3 + 8 + 4 + 4,
    "selective_kernels": 4 + 3 + 3 + 3 + 2 + 3 + 3,
    "pixel_shuffle": 4 + 3 + 12,
    "pixel_shuffle_by_reshaping": 4 + 3 + 12,
    "pixel_unshuffle": 4 + 3 + 3,
    "time_distributed_dense": 4 + 3 + 3,
    "time_distributed_rows": 4 + 3 + 3,
    "time_distributed_model": 4 + 3 + 3,
    "sequence": 4 + 3,
    "lstm": 4 + 3,
    "gru": 4 + 3,
    "simple_rnn": 4 + 3,
    "bidirectional": 4 + 3,
    "bidirectional_summed": 4 + 3,
    "lstm_with_state": 4 + 3,
    "stacked_cells": 4 + 3,
    "convolutional_lstm": 4 + 3,
    "one_channel_gate": 4 + 3,
    "one_channel_gate_of_a_join": 4 + 3 + 3 + 4,
    "one_channel_offset": 4 + 3,  # what is added to makes no zeros
}
# Of a kind with others.
SLOW = {
    "bidirectional_summed",
    "gru",
    "grouped_residual",
    "grouped_to_depths",
    "lstm_with_state",
    "parametric_of_one_slope",
    "pixel_shuffle_by_reshaping",
    "reversed_slice",
    "sequence",
    "simple_rnn",
    "squeeze_with_expanded_axes",
    "stacked_cells",
    "time_distributed_rows",
}
# LiteRT has no integer kernels for these, or kbp no rule.
FLOAT = {
    *("bidirectional", "bidirectional_summed", "convolutional_lstm", "gru"),
    *("lstm", "lstm_with_state", "simple_rnn", "stacked_cells"),
    "reductions_of_signed_values",
    "split_and_keep_half",
}


def closed(model, choose):
    """Close what `choose(count)` says of each mask."""
    for layer in sparsity.masked_layers(model):
        kernel = np.abs(as_numpy(layer.kernel)) + 0.1
        dead = choose(kernel.size)
        layer.kernel.assign(np.where(dead, 0.01, kernel))
        layer.transforms[0].threshold.assign(0.05)
    return model


def every_second(count):
    return np.arange(count) % 2 == 1


def outputs(model):
    x = np.random.default_rng(3).normal(size=(2, *model.input_shape[1:]))
    return as_numpy(model(x.astype("float32")))


def assert_shrinks(masked, **arguments):
    small = sparsity.shrink(masked, **arguments)
    expected = outputs(masked)
    scale = max(np.abs(expected).max(), 1e-3)  # some have all channels closed
    np.testing.assert_allclose(
        outputs(small) / scale, expected / scale, rtol=0, atol=2e-5
    )
    assert not any(
        isinstance(x, kbp.layers.TransformedLayer | kbp.layers.ChannelScale)
        for x in small.layers
    )
    return small


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW))
        for name in structures()
    ],
)
def test_shrunk_structure_gives_what_the_masked_one_does(name):
    model = network(structures()[name])
    model = randomized(model, np.random.default_rng(0))
    masked = sparsity.apply_dtm(
        model, granularity="channel", protect_ends=False
    )
    np.testing.assert_allclose(outputs(masked), outputs(model), atol=1e-5)
    small = assert_shrinks(closed(masked, every_second))
    counts = [sparsity.channel_count(x) for x in (model, small)]
    assert counts[0] - counts[1] == REMOVED[name]


@pytest.mark.long
def test_one_mask_of_several_arrangements_trains_and_loads(tmp_path):
    model = network(structures()["shuffle_units"])
    masked = sparsity.apply_dtm(model, granularity="channel")
    gates = [x.innermost for x in sparsity.masked_layers(masked)]
    assert any(len(gate.arrangements) > 1 for gate in gates)
    masked.compile(keras.optimizers.SGD(0.01), "mse")
    rng = np.random.default_rng(0)
    data = rng.normal(size=(16, 8, 8, 3)), rng.normal(size=(16, 3))
    schedule = sparsity.DTMSchedule(0.4, budget="uniform")
    masked.fit(*data, epochs=2, verbose=0, callbacks=[schedule])
    small = assert_shrinks(masked)
    masked.save(tmp_path / "masked.keras")
    loaded = keras.saving.load_model(tmp_path / "masked.keras")
    np.testing.assert_array_equal(outputs(loaded), outputs(masked))
    again = assert_shrinks(loaded)
    assert again.count_params() == small.count_params()
    assert small.count_params() < 0.8 * model.count_params()


@pytest.mark.parametrize("groups", [2, 8])
def test_grouped_layer_that_is_used_twice_is_cut_once(groups):
    inputs = keras.Input((8, 8, 3))
    shared = keras.layers.Conv2D(8, 1, groups=groups, name="shared")
    x, y = (keras.layers.Conv2D(8, 1, name=name)(inputs) for name in "xy")
    model = keras.Model(
        inputs, keras.layers.Conv2D(3, 1)(shared(x) + shared(y))
    )
    rng = np.random.default_rng(0)
    for name, dead in (("x", [0, 5, 1]), ("y", [0, 1, 7]), ("shared", [0, 4])):
        kernel, bias = randomized(model.get_layer(name), rng).get_weights()
        kernel[..., dead], bias[dead] = 0, 0
        model.get_layer(name).set_weights([kernel, bias])
    assert_shrinks(model)


def test_part_of_a_split_that_the_model_gives_stays_alone():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 1, name="halves")(inputs)
    given, hidden = keras.ops.split(x, [2], axis=-1)
    model = keras.Model(inputs, [given, keras.layers.Conv2D(3, 1)(hidden)])
    masked = sparsity.apply_dtm(
        model, granularity="channel", protect_ends=False
    )
    (gate,) = sparsity.masked_layers(closed(masked, every_second))
    assert gate.innermost.arrangements == [[-1, -1, 0, 1, 2, 3, 4, 5]]
    small = sparsity.shrink(masked)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    for found, expected in zip(small(x), masked(x), strict=True):
        np.testing.assert_allclose(
            as_numpy(found), as_numpy(expected), atol=1e-5
        )
    assert small.get_layer("halves").filters == 5


@pytest.mark.long
@pytest.mark.parametrize(
    "start",
    [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 63, 10))],
)
def test_mixed_structures_keep_their_outputs(start):
    for seed in range(start, start + (3 if start == 0 else 10)):
        rng = np.random.default_rng(seed)
        model = randomized(mixed_graph(seed), rng)
        masked = sparsity.apply_dtm(
            model, granularity="channel", protect_ends=False
        )
        masked = closed(masked, lambda n, rng=rng: some(n, rng))
        small = assert_shrinks(masked, multiple_of=1 + seed % 2)
        assert sparsity.channel_count(small) < sparsity.channel_count(model)


def some(count, rng):
    """Choose some of the groups, and never all."""
    dead = rng.random(count) < rng.choice([0.3, 0.6, 0.9])
    dead[rng.integers(count)] = False
    return dead


@pytest.mark.parametrize(
    "name",
    [
        "spatial_attention",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in sorted({*structures()} - {*FLOAT, "spatial_attention"})
        ),
    ],
)
def test_shrunk_structure_runs_in_eight_bits(name, tmp_path):
    model = randomized(network(structures()[name]), np.random.default_rng(0))
    masked = sparsity.apply_dtm(
        model, granularity="channel", protect_ends=False
    )
    small = sparsity.shrink(closed(masked, every_second))
    x = np.random.default_rng(1).normal(size=(16, 8, 8, 3)).astype("float32")
    quantized = kbp.quantization.quantize_aware(small, [x])
    audit = kbp.export.to_tflite(quantized, tmp_path / "small.tflite")
    assert not audit.float_operations
    check = kbp.export.verify(quantized, tmp_path / "small.tflite", [x])
    assert check.unit == "LSB"
    assert check.maximum <= 1
