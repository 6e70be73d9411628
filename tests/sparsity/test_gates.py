"""Masks of whole groups of channels."""

import keras
import numpy as np
import pytest
from contracts import as_numpy

import kbp
from kbp import graph, sparsity
from kbp.errors import UserError
from kbp.sparsity.gates import _magnitudes

layers = keras.layers


def residual_network():
    """A stem, a block whose sum is tied to the stem, and a narrower end."""

    def conv(x, filters, name):
        x = layers.Conv2D(
            filters, 3, padding="same", use_bias=False, name=name
        )(x)
        return layers.BatchNormalization(momentum=0.5, name=f"{name}_norm")(x)

    inputs = keras.Input((8, 8, 3))
    stem = layers.ReLU()(conv(inputs, 8, "stem"))
    x = layers.ReLU()(conv(stem, 12, "inner"))
    x = layers.ReLU()(layers.Add()([conv(x, 8, "outer"), stem]))
    x = layers.Conv2D(16, 1, activation="silu", name="wide")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, name="head")(x))


@pytest.fixture
def model():
    return residual_network()


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(32, 8, 8, 3)), rng.integers(0, 4, 32)


def compiled(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model


def gated(model, **arguments):
    arguments = {"protect_ends": False, **arguments}
    return sparsity.apply_dtm(model, granularity="channel", **arguments)


def gates(model):
    return {x.name: x for x in sparsity.masked_layers(model)}


def test_outputs_stay_and_a_group_has_one_gate(model, data):
    for weight in model.weights:  # magnitudes that differ
        rng = np.random.default_rng(len(weight.path))
        weight.assign(rng.uniform(0.2, 1.0, weight.shape))
    pruned = gated(model)
    np.testing.assert_allclose(
        as_numpy(pruned(data[0])), as_numpy(model(data[0])), rtol=1e-5
    )
    assert {n: x.kernel.shape for n, x in gates(pruned).items()} == {
        "stem_gate": (8,),
        "inner_gate": (12,),
        "wide_gate": (16,),
    }


def test_gates_begin_with_the_magnitudes_of_the_channels(model):
    gamma = np.linspace(0.5, 1.5, 12)
    model.get_layer("inner_norm").gamma.assign(gamma)
    norms = np.square(as_numpy(model.get_layer("inner").kernel)).sum((0, 1, 2))
    expected = gamma * np.sqrt(norms)
    gate = gates(gated(model))["inner_gate"]
    np.testing.assert_allclose(
        as_numpy(gate.kernel),
        (expected / expected.mean() + 0.1) / 1.1,
        rtol=1e-5,
    )


def test_channels_that_are_all_alike_stay(model, data):
    pruned = compiled(gated(model))
    pruned.optimizer.learning_rate = 0.0
    for gate in gates(pruned).values():
        gate.kernel.assign(np.ones(gate.kernel.shape))
    schedule = sparsity.DTMSchedule(0.5)
    pruned.fit(*data, epochs=2, verbose=0, callbacks=[schedule])
    for gate in gates(pruned).values():
        assert sparsity.hard_mask(gate).all()


def test_ends_and_skipped_layers_keep_their_channels(model):
    assert set(gates(gated(model, protect_ends=True))) == {
        *("inner_gate", "wide_gate")
    }
    # What is added to the stem's channels is not pruned without them.
    assert set(gates(gated(model, skip=["outer"]))) == {
        *("inner_gate", "wide_gate")
    }
    assert "inner_gate" not in gates(gated(model, skip=["inner_norm"]))


@pytest.mark.long
@pytest.mark.parametrize("epochs", [1, 4])
def test_pruned_while_training_then_shrunk(model, data, epochs, tmp_path):
    pruned = compiled(gated(model))
    schedule = sparsity.DTMSchedule(0.5, budget="uniform")
    pruned.fit(*data, epochs=epochs, verbose=0, callbacks=[schedule])
    expected = as_numpy(pruned(data[0]))
    plain, small = sparsity.strip(pruned), sparsity.shrink(pruned)
    for new in (plain, small):
        np.testing.assert_allclose(as_numpy(new(data[0])), expected, atol=1e-5)
        assert not gates(new)
    assert small.get_layer("inner").filters == 6
    assert small.get_layer("wide").filters == 8
    assert plain.get_layer("inner").filters == 12
    pruned.save(tmp_path / "pruned.keras")
    loaded = keras.saving.load_model(tmp_path / "pruned.keras")
    np.testing.assert_array_equal(as_numpy(loaded(data[0])), expected)
    again = sparsity.shrink(loaded)
    assert again.count_params() == small.count_params()


def test_masks_of_weights_and_of_channels_stand_together(model, data):
    both = compiled(gated(sparsity.apply_dtm(model)))
    schedule = sparsity.DTMSchedule(0.5, budget="uniform")
    both.fit(*data, epochs=2, verbose=0, callbacks=[schedule])
    masked = [x.name for x in sparsity.masked_layers(both)]
    assert {"wide", "wide_gate", "inner", "inner_gate"} <= set(masked)
    small = sparsity.shrink(both)
    np.testing.assert_allclose(
        as_numpy(small(data[0])), as_numpy(both(data[0])), atol=1e-5
    )
    assert small.count_params() < model.count_params()


def test_shared_layer_with_an_activation_has_one_gate():
    inputs = keras.Input((4,))
    x = layers.Dense(6, activation="tanh", name="first")(inputs)
    shared = layers.Dense(6, activation="tanh", name="shared")
    x = shared(shared(x))
    model = keras.Model(inputs, layers.Dense(2)(x))
    pruned = gated(model)
    assert set(gates(pruned)) == {"first_gate"}
    gates(pruned)["first_gate"].kernel.assign([0, 1, 0, 2, 3, 0])
    x = np.ones((2, 4))
    pruned.get_layer("first_gate").transforms[0].threshold.assign(0.5)
    small = sparsity.shrink(pruned)
    np.testing.assert_allclose(
        as_numpy(small(x)), as_numpy(pruned(x)), atol=1e-6
    )
    assert small.get_layer("shared").kernel.shape == (3, 3)


def test_kept_channels_are_a_multiple(model, data):
    pruned = compiled(gated(model))
    schedule = sparsity.DTMSchedule(0.4, multiple_of=4)
    pruned.fit(*data, epochs=2, verbose=0, callbacks=[schedule])
    for gate in gates(pruned).values():
        assert sparsity.hard_mask(gate).sum() % 4 == 0


@pytest.mark.long
@pytest.mark.parametrize("budget", ["adaptive", "uniform"])
@pytest.mark.parametrize("target", [0.3, 0.6])
def test_target_share_of_the_parameters_is_met(model, data, budget, target):
    pruned = compiled(gated(model))
    schedule = sparsity.DTMSchedule(target, measure="parameters", budget=budget)
    pruned.fit(*data, epochs=3, verbose=0, callbacks=[schedule])
    small = sparsity.shrink(pruned)
    gone = 1 - small.count_params() / model.count_params()
    assert target <= gone < target + 0.08  # a channel more


def test_target_out_of_reach_is_refused(model, data):
    pruned = compiled(gated(model))
    schedule = sparsity.DTMSchedule(0.9, multiple_of=8, measure="parameters")
    with pytest.raises(UserError, match=r"out of reach.* can remove \d\d") as e:
        pruned.fit(*data, verbose=0, callbacks=[schedule])
    held_back = (
        "Each mask keeps a multiple of 8 channels at least: wide_gate 8 of 16, "
        "inner_gate 8 of 12, stem_gate 8 of 8. "
        "These layers keep all their channels: head (first or last layer)."
    )
    assert held_back in str(e.value)


@pytest.mark.long
def test_target_share_of_the_multiply_adds_is_met(model, data):
    def multiply_adds(model):
        return sum(map(sparsity.multiply_adds, graph.nodes(model)))

    pruned = compiled(gated(model))
    schedule = sparsity.DTMSchedule(0.5, measure="multiply_adds")
    pruned.fit(*data, epochs=3, verbose=0, callbacks=[schedule])
    gone = 1 - multiply_adds(sparsity.shrink(pruned)) / multiply_adds(model)
    assert 0.5 <= gone < 0.6
    weights = compiled(sparsity.apply_dtm(model, protect_ends=False))
    weights.fit(*data, epochs=3, verbose=0, callbacks=[schedule])
    rows = sparsity.summary(weights)
    kept = sum(row.kept_multiply_adds for row in rows)
    whole = sum(row.multiply_adds for row in rows)
    assert abs(1 - kept / whole - 0.5) < 0.005


@pytest.mark.long
def test_fixed_gates_never_drift(model, data):
    pruned = compiled(gated(model))
    schedule = sparsity.DTMSchedule(0.5)
    pruned.fit(*data, epochs=2, verbose=0, callbacks=[schedule])
    masks = [sparsity.hard_mask(x) for x in gates(pruned).values()]
    fixed = compiled(sparsity.fix_masks(pruned))
    np.testing.assert_allclose(
        as_numpy(fixed(data[0])), as_numpy(pruned(data[0])), atol=1e-6
    )
    fixed.fit(*data, epochs=2, verbose=0)
    found = [sparsity.hard_mask(x) for x in gates(fixed).values()]
    for mask, other in zip(masks, found, strict=True):
        np.testing.assert_array_equal(mask, other)
    small = sparsity.shrink(fixed)
    np.testing.assert_allclose(
        as_numpy(small(data[0])), as_numpy(fixed(data[0])), atol=1e-5
    )


def test_penalty_is_the_expected_share_of_the_cost(model, data):
    for cost in ("parameters", "multiply_adds"):
        pruned = gated(model, penalty=2.0, cost=cost, threshold=-100.0)
        pruned(data[0], training=True)
        total = sum(map(float, pruned.losses))
        np.testing.assert_allclose(total, 2.0, rtol=1e-5)


def test_summary_counts_multiply_adds(model):
    rows = {row.name: row for row in sparsity.summary(gated(model))}
    assert rows["inner_gate"].multiply_adds == 64 * 9 * 8 * 12
    assert rows["stem_gate"].multiply_adds == 64 * 9 * 8 * (3 + 12)
    assert rows["wide_gate"].multiply_adds == 64 * 8 * 16


def test_normalization_without_a_factor_gets_one():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, name="conv")(inputs)
    x = layers.BatchNormalization(scale=False)(keras.ops.relu(x))
    x = layers.Conv2D(4, 3, name="next")(x)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    pruned = gated(model, penalty=1.0)
    assert len(gates(pruned)) == 2
    np.testing.assert_allclose(
        as_numpy(pruned(x)), as_numpy(model(x)), atol=1e-6
    )


def test_frozen_layers_get_frozen_gates(model):
    for layer in model.layers[:-1]:
        layer.trainable = False
    assert len(gated(model).trainable_variables) == 2


def test_gates_take_the_layers_precision(model):
    half = keras.models.clone_model(
        model,
        clone_function=lambda layer: type(layer).from_config(
            {**layer.get_config(), "dtype": "float64"}
        ),
    )
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    np.testing.assert_allclose(
        as_numpy(gated(half)(x)), as_numpy(half(x)), rtol=1e-12
    )


def test_channels_are_not_masked_twice(model):
    with pytest.raises(ValueError, match="scaled already"):
        gated(gated(model))


def test_gate_that_cannot_be_folded_stays():
    inputs = keras.Input((4,))
    x = layers.Dense(6, activation="relu")(inputs)
    gate = kbp.layers.TransformedLayer(
        kbp.layers.ChannelScale(name="mine"), [kbp.layers.DTM(threshold=0.5)]
    )
    model = keras.Model(inputs, layers.Dense(2)(gate(x)))
    gate.kernel.assign([1.0, -1.0, 2.0, 0.1, -0.2, -3.0])
    x = np.random.default_rng(0).normal(size=(3, 4))
    for new in (sparsity.strip(model), sparsity.shrink(model)):
        np.testing.assert_allclose(
            as_numpy(new(x)), as_numpy(model(x)), atol=1e-6
        )
    assert sparsity.shrink(model).get_layer("mine").kernel.shape == (4,)


@pytest.mark.parametrize(
    "wrong", [[[]], [[-1]], [[1, 2]], [[0, 1], [0, 0]], [[0, -2]]]
)
def test_arrangement_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="`arrangements` must be lists of"):
        kbp.layers.ChannelScale(arrangements=wrong)


def test_channels_are_scaled_as_each_place_arranges_them():
    scale = kbp.layers.ChannelScale(arrangements=[[0, 0, -1, 1], [1, 0]])
    inputs = keras.Input((4,)), keras.Input((2,))
    outputs = scale(inputs[0]), scale(inputs[1], arrangement=1)
    model = keras.Model(inputs, outputs)
    scale.kernel.assign([2.0, 3.0])
    copy = keras.Model.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    for made in (model, copy):
        found = made([np.ones((1, 4)), np.ones((1, 2))])
        assert as_numpy(found[0]).tolist() == [[2, 2, 1, 3]]
        assert as_numpy(found[1]).tolist() == [[3, 2]]
    with pytest.raises(ValueError, match="must number each channel"):
        scale(np.ones((1, 3)))


def test_nothing_to_prune_is_an_error():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    with pytest.raises(UserError, match="nothing to prune"):
        gated(model)
    inputs = keras.Input((4,))
    x = layers.Dense(6, name="hidden")(inputs)
    x = layers.LayerNormalization(name="norm")(x)
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    reason = (
        r"keep all their channels: hidden \(norm needs all of its channels\); "
        r"head \(the model gives them\)\."
    )
    with pytest.raises(UserError, match=reason):
        gated(model)


def test_magnitudes_are_of_the_weights_type(model):
    for node in graph.nodes(model):
        if node.operation.weights:
            assert _magnitudes(node).dtype == "float32", node


def test_share_of_zeros_is_that_of_the_stripped_model(model):
    masked = gated(model)
    for gate in gates(masked).values():
        middle = float(np.median(as_numpy(gate.kernel)))
        gate.transforms[0].threshold.assign(middle)
    found = sparsity.kernel_sparsity(masked)
    assert found == sparsity.kernel_sparsity(sparsity.strip(masked)) > 0
