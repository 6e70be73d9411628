"""Several models as one, and samples that are drawn with replacement."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts import as_numpy

import kbp
from kbp import export, quantization, sparsity
from kbp.inference.ensembles import members_of, mutual_information
from kbp.training import bagging, combined

RNG = np.random.default_rng(3)
X = RNG.normal(size=(64, 6)).astype("float32")
Y = RNG.integers(0, 3, 64)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
FIT = {"verbose": 0, "batch_size": 16}


def network():
    model = kbp.models.ResidualMLP((6,), 3, width=8, dropout=0.2)
    model.compile(keras.optimizers.Adam(0.01), LOSS)
    return model


def image_network():
    return kbp.models.PyramidBPNet((8, 8, 1), 3, width=8)


def of_operations():
    """A model of operations, whose names Keras counts."""
    inputs = keras.Input((6,))
    x = keras.ops.reshape(keras.layers.Dense(6)(inputs), (-1, 3, 2))
    outputs = keras.ops.max(keras.ops.transpose(x, (0, 2, 1)), axis=1)
    return keras.Model(inputs, outputs)


def probabilities(logits):
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("make", [network, of_operations])
@pytest.mark.parametrize("count", [2, 5])
def test_the_mean_is_that_of_the_members(make, count):
    models = [make() for _ in range(count)]
    expected = np.mean(
        [as_numpy(model(X)).astype("float64") for model in models], axis=0
    )
    whole = combined(models)
    assert len(whole.inputs) == len(whole.outputs) == 1
    np.testing.assert_allclose(as_numpy(whole(X)), expected, atol=1e-6)


def test_the_vote_is_the_share_of_the_members():
    models = [network() for _ in range(4)]
    votes = np.stack(
        [np.eye(3)[as_numpy(model(X)).argmax(axis=-1)] for model in models]
    )
    found = as_numpy(combined(models, combine="vote")(X))
    np.testing.assert_allclose(found, votes.mean(axis=0), atol=1e-7)
    assert len({*found.max(axis=-1).tolist()}) > 1  # not always unanimous


def test_models_stay_as_they_are_and_share_nothing():
    models = [network(), network()]
    names = [[layer.name for layer in model.layers] for model in models]
    before = [as_numpy(model(X)) for model in models]
    whole = combined(models)
    for weight in whole.weights:
        weight.assign(weight + 1)
    for model, name, outputs in zip(models, names, before, strict=True):
        assert [layer.name for layer in model.layers] == name
        np.testing.assert_array_equal(as_numpy(model(X)), outputs)


@pytest.mark.long
def test_members_are_found_again_in_what_was_saved(tmp_path):
    models = [network() for _ in range(3)]
    combined(models).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert members_of(models[0]) is None
    found = members_of(loaded).predict(X, verbose=0)
    for outputs, model in zip(found, models, strict=True):
        np.testing.assert_allclose(outputs, as_numpy(model(X)), atol=1e-6)


@pytest.mark.slow
def test_an_ensemble_prunes_rounds_exports_and_verifies(tmp_path):
    images = RNG.random((64, 8, 8, 1), "float32")
    members = []
    for seed in range(2):
        keras.utils.set_random_seed(seed)
        model = sparsity.apply_dtm(image_network(), granularity="channel")
        model.compile(kbp.HybridOptimizer(1e-3), LOSS)
        schedule = sparsity.DTMSchedule(0.4, begin=0.0, end=0.9)
        model.fit(images, Y, epochs=2, verbose=0, callbacks=[schedule])
        members.append(model)
    whole = combined(members)
    small = sparsity.shrink(whole)
    assert small.count_params() < 2 * image_network().count_params()
    np.testing.assert_allclose(
        as_numpy(small(images)), as_numpy(whole(images)), atol=1e-5
    )
    assert len(members_of(small).outputs) == 2
    export.to_saved_model(small, tmp_path / "saved")
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    served = as_numpy(loaded.serve(images))
    np.testing.assert_allclose(served, as_numpy(small(images)), atol=1e-5)
    export.to_tflite(small, tmp_path / "float.tflite")
    assert not export.verify(small, tmp_path / "float.tflite", images).problems
    rounded = quantization.quantize_aware(small, images)
    rounded.compile(kbp.HybridOptimizer(1e-4), LOSS)
    rounded.fit(images, Y, **FIT)
    audit = export.to_tflite(rounded, tmp_path / "int8.tflite")
    assert not audit.float_operations
    found = export.verify(rounded, tmp_path / "int8.tflite", images)
    assert found.within_one >= 0.99


@pytest.mark.long
def test_a_vote_is_one_float_file_and_no_integer_one(tmp_path):
    whole = combined([image_network() for _ in range(3)], combine="vote")
    images = RNG.random((16, 8, 8, 1), "float32")
    export.to_tflite(whole, tmp_path / "vote.tflite")
    found = export.Runner(tmp_path / "vote.tflite").predict(images)
    np.testing.assert_allclose(found, as_numpy(whole(images)), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-6)
    with pytest.raises(ValueError, match=r"ensemble.*MajorityVote"):
        quantization.quantize_aware(whole, images)


@pytest.mark.long
@pytest.mark.parametrize("bootstrap", [True, False])
def test_bagging_trains_each_member_on_its_own_sample(bootstrap):
    whole = bagging(
        network, (X, Y), members=2, bootstrap=bootstrap, seed=4, **FIT
    )
    for seed, outputs in zip((4, 5), members_of(whole)(X), strict=True):
        keras.utils.set_random_seed(seed)
        alone = network()
        drawn = np.arange(64)
        if bootstrap:
            drawn = np.random.default_rng(seed).integers(64, size=64)
            assert len({*drawn.tolist()}) < 50
        alone.fit(X[drawn], Y[drawn], **FIT)
        np.testing.assert_allclose(
            as_numpy(outputs), as_numpy(alone(X)), atol=1e-6
        )


@pytest.mark.long
def test_examples_weights_are_drawn_with_them():
    weights = np.arange(64) % 2.0
    labels = np.where(weights > 0, Y, (Y + 1) % 3)
    whole = bagging(network, (X, labels, weights), members=2, seed=4, **FIT)
    for seed, outputs in zip((4, 5), members_of(whole)(X), strict=True):
        keras.utils.set_random_seed(seed)
        alone = network()
        drawn = np.random.default_rng(seed).integers(64, size=64)
        alone.fit(X[drawn], Y[drawn], sample_weight=weights[drawn], **FIT)
        np.testing.assert_allclose(
            as_numpy(outputs), as_numpy(alone(X)), atol=1e-6
        )
    with pytest.raises(ValueError, match="part of the data"):
        bagging(network, (X, Y), sample_weight=weights, **FIT)


@pytest.mark.long
def test_data_sets_are_taken_without_drawing():
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    whole = bagging(network, data, members=2, bootstrap=False, verbose=0)
    assert whole.output_shape == (None, 3)


def test_mutual_information_is_the_formula():
    p = probabilities(RNG.normal(size=(5, 40, 7)) * 3)
    mean = p.mean(axis=0)
    expected = -(mean * np.log(mean)).sum(-1) + (p * np.log(p)).sum(-1).mean(0)
    np.testing.assert_allclose(mutual_information(p), expected, atol=1e-12)
    assert (mutual_information(p) <= np.log(5)).all()


def test_members_that_agree_tell_nothing_of_the_member():
    p = probabilities(RNG.normal(size=(1, 9, 4)))
    same = np.repeat(p, 6, axis=0)
    np.testing.assert_allclose(mutual_information(same), 0, atol=1e-12)
    sure = np.eye(4)[:, None]  # each of another class
    np.testing.assert_allclose(mutual_information(sure), np.log(4))


def two_inputs():
    inputs = [keras.Input((6,)), keras.Input((6,))]
    outputs = keras.layers.Dense(3)(keras.layers.Add()(inputs))
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: combined([network()]), "`models` must be two models or more"),
        (lambda: combined([network(), image_network()]), "of equal input and"),
        (lambda: combined([two_inputs()] * 2), "must have one input and one"),
        (
            lambda: combined([network(), network()], combine="median"),
            "`combine` must be one of",
        ),
        (lambda: bagging(network, (X, Y), members=1), "`members` must be a"),
        (lambda: bagging(network, (X, Y), seed=-1), "`seed` must be a whole"),
        (
            lambda: bagging(network, tf.data.Dataset.range(3)),
            "`data` must be arrays",
        ),
        (
            lambda: kbp.layers.MajorityVote()([X]),
            "a list of two or more",
        ),
    ],
)
def test_what_cannot_be_combined_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_one_model_is_no_two_members():
    model = network()
    with pytest.raises(ValueError, match="must return a new model each time"):
        bagging(lambda: model, (X, Y), members=2, **FIT)


def test_odd_data_and_builders_are_named():
    x, y = np.ones((8, 4), "float32"), np.ones((8, 1), "float32")

    def build():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    with pytest.raises(ValueError, match="as many examples in each array"):
        kbp.training.bagging(build, (x, y[:3]))
    with pytest.raises(ValueError, match="nothing to vote on"):
        combined([build(), build()], combine="vote")
    for odd in (build(), None):
        with pytest.raises(ValueError, match="must be a function that returns"):
            kbp.training.multi_start(odd, (x, y), (x, y))
