"""Models that learn from a teacher, in `fit`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts import as_numpy

import kbp
from kbp.training import distilled
from kbp.training.distribution import create_strategy
from kbp.training.techniques.distillation import _divergences

layers = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6)).astype("float32")
Y = RNG.integers(0, 3, 64)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(seed=0, **options):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, activation="tanh"),
            layers.Dense(3, **options),
        ]
    )
    model.compile(keras.optimizers.SGD(0.1), LOSS)
    return model


def fitted(model, **options):
    model.fit(X, Y, verbose=0, shuffle=False, **options)
    return model.get_weights()


def test_weight_0_is_plain_training_to_the_bit():
    plain = fitted(network(), epochs=3)
    model = network()
    with distilled(model, network(1), weight=0, temperature=1):
        found = fitted(model, epochs=3)
    for a, b in zip(plain, found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_step_is_that_of_the_sum_of_both_losses():
    teacher, model, by_hand = network(1), network(), network()
    before = teacher.get_weights()
    with distilled(model, teacher, weight=0.7, temperature=3.0):
        found = fitted(model, batch_size=64)
    divergence = kbp.losses.Distillation(temperature=3.0)
    with tf.GradientTape() as tape:
        outputs = by_hand(X)
        loss = LOSS(Y, outputs) + 0.7 * divergence(teacher(X), outputs)
    gradients = tape.gradient(loss, by_hand.trainable_weights)
    by_hand.optimizer.apply(gradients, by_hand.trainable_weights)
    for a, b in zip(found, by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    for a, b in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.long
def test_a_model_comes_near_to_its_teacher():
    teacher, model, alone = network(1), network(), network()
    fitted(alone, epochs=30)
    with distilled(model, teacher, weight=10.0, temperature=1.0):
        fitted(model, epochs=30)

    def distance(other):
        return np.abs(other.predict(X, verbose=0) - teacher(X)).mean()

    assert distance(model) < 0.7 * distance(alone)


def test_only_training_meanwhile_is_changed():
    model, other = network(), network()
    fitted(model)
    fitted(other)  # both are traced now
    with distilled(model, network(1)):
        value = model.evaluate(X, Y, verbose=0)
        assert value == other.evaluate(X, Y, verbose=0)
        fitted(model)
        fitted(other)
        changed = model.get_weights()
        assert np.abs(changed[0] - other.get_weights()[0]).max() > 1e-4
    other.set_weights(changed)
    for a, b in zip(fitted(model), fitted(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert type(model).compute_loss is keras.Model.compute_loss
    assert "compute_loss" not in vars(model)


def test_it_ends_with_an_error_too():
    model = network()
    with pytest.raises(KeyError, match="stopped"), distilled(model, network(1)):
        raise KeyError("stopped")
    assert "compute_loss" not in vars(model)


@pytest.mark.parametrize(
    ("loss", "options", "kind", "logits"),
    [
        (LOSS, {}, "classes", True),
        ("sparse_categorical_crossentropy", {}, "classes", False),
        (keras.losses.CategoricalCrossentropy(), {}, "classes", False),
        (kbp.losses.DiceCrossEntropy(), {}, "classes", True),
        ("binary_crossentropy", {}, "labels", False),
        (keras.losses.BinaryCrossentropy(True), {}, "labels", True),
        ("mse", {}, "values", False),
        (keras.losses.Huber(), {}, "values", False),
    ],
)
def test_outputs_are_compared_as_their_loss_tells(loss, options, kind, logits):
    model = network()
    model.compile("sgd", loss)
    (found,) = _divergences(model, 2.0)
    assert found.kind == kind
    assert found.temperature == 2.0
    if kind != "values":
        assert found.from_logits == logits


def two_headed(prefix=""):
    x = keras.Input((6,))
    outputs = {
        "scores": layers.Dense(3, name=f"{prefix}scores")(x),
        "amount": layers.Dense(1, name=f"{prefix}amount")(x),
    }
    model = keras.Model(x, outputs)
    model.compile("sgd", {"scores": LOSS, "amount": "mse"})
    return model


def test_losses_without_an_output_are_named():
    model = two_headed()
    model.loss = {"score": LOSS}
    with pytest.raises(ValueError, match="name losses by the outputs"):
        _divergences(model, 2.0)


@pytest.mark.long
@pytest.mark.parametrize("prefix", ["", "of_"])  # of the layers' names alone
def test_every_output_learns(prefix):
    keras.utils.set_random_seed(0)
    teacher, model = two_headed(prefix), two_headed(prefix)
    first = distances(teacher, model)
    targets = {"scores": Y, "amount": teacher.predict(X, verbose=0)["amount"]}
    model.compile(
        keras.optimizers.Adam(0.05), {"scores": LOSS, "amount": "mse"}
    )
    with distilled(model, teacher, weight=50.0, temperature=1.0):
        model.fit(X, targets, epochs=20, batch_size=8, verbose=0)
    last = distances(teacher, model)
    assert all(b < 0.7 * a for a, b in zip(first, last, strict=True))


def distances(*models):
    """Return how far each output of one model is from the other's."""
    first, second = (model.predict(X, verbose=0) for model in models)
    away = {name: first[name] - second[name] for name in first}
    # Logits that all differ by the same are the same probabilities.
    away["scores"] -= away["scores"].mean(axis=-1, keepdims=True)
    return [np.abs(difference).mean() for difference in away.values()]


@pytest.mark.long
def test_two_devices_are_as_one():
    weights = []
    for name in ("one_device", "mirrored"):
        with create_strategy(name).scope():
            teacher, model = network(1), network()
        with distilled(model, teacher, weight=2.0):
            data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
            model.fit(data, epochs=2, verbose=0, shuffle=False)
        weights.append([as_numpy(w) for w in model.weights])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_masks_close_and_eight_bits_train_beside_a_teacher():
    teacher = network()
    fitted(teacher, epochs=5)
    model = kbp.sparsity.apply_dtm(teacher, protect_ends=False)
    model.compile("adam", LOSS)
    schedule = kbp.sparsity.DTMSchedule(0.5)
    with distilled(model, teacher):
        fitted(model, epochs=4, callbacks=[schedule])
    assert kbp.sparsity.kernel_sparsity(model) >= 0.5
    rounded = kbp.quantization.quantize_aware(model, X)
    rounded.compile("adam", LOSS)
    with distilled(rounded, teacher):
        fitted(rounded)


class OwnStep(keras.Model):
    def train_step(self, data):
        return super().train_step(data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weight": -1.0}, "Argument `weight` must be 0 or"),
        ({"weight": float("nan")}, "Argument `weight` must be 0 or"),
        ({"temperature": 0.0}, "Argument `temperature` must be"),
        ({"teacher": "other"}, "outputs of the same shapes"),
        ({"model": "new"}, "must be compiled with a loss"),
        ({"model": "own"}, "own `train_step`"),
    ],
)
def test_what_cannot_be_learned_is_refused(change, words):
    def other():
        return keras.Sequential([keras.Input((6,)), layers.Dense(2)])

    def own():
        x = keras.Input((6,))
        model = OwnStep(x, layers.Dense(3)(x))
        model.compile("sgd", LOSS)
        return model

    made = {"other": other, "new": other, "own": own}
    arguments = {"model": "", "teacher": ""} | change
    model, teacher = (
        made.get(arguments.pop(key), network)() for key in ("model", "teacher")
    )
    learning = distilled(model, teacher, **arguments)
    with pytest.raises(ValueError, match=words):
        learning.__enter__()
    assert "compute_loss" not in vars(model)
