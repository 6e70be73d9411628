"""The divergence from a teacher, against its formula in float64."""

import keras
import numpy as np
import pytest
from contracts import as_numpy

import kbp

RNG = np.random.default_rng(0)
TEACHER, STUDENT = RNG.normal(size=(2, 6, 5, 4)) * 3


def softmax(logits):
    values = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return values / values.sum(axis=-1, keepdims=True)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def divergence(p, q):
    return (p * (np.log(p) - np.log(q))).sum(axis=-1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_classes_are_the_formula(temperature):
    t = temperature
    p, q = softmax(TEACHER / t), softmax(STUDENT / t)
    expected = t**2 * divergence(p, q).mean()
    loss = kbp.losses.Distillation("classes", temperature=t)
    assert float(loss(TEACHER, STUDENT)) == pytest.approx(expected, rel=1e-5)
    loss = kbp.losses.Distillation("classes", temperature=t, from_logits=False)
    found = float(loss(softmax(TEACHER), softmax(STUDENT)))
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_labels_are_two_classes_each(temperature):
    t = temperature
    p, q = sigmoid(TEACHER / t), sigmoid(STUDENT / t)
    both = [np.stack([x, 1 - x], -1) for x in (p, q)]
    expected = t**2 * divergence(*both).sum(axis=-1).mean()
    loss = kbp.losses.Distillation("labels", temperature=t)
    assert float(loss(TEACHER, STUDENT)) == pytest.approx(expected, rel=1e-5)
    loss = kbp.losses.Distillation("labels", temperature=t, from_logits=False)
    found = float(loss(sigmoid(TEACHER), sigmoid(STUDENT)))
    assert found == pytest.approx(expected, rel=1e-4)


def test_values_have_their_squared_difference():
    expected = np.square(TEACHER - STUDENT).mean()
    for temperature in (1.0, 9.0):
        loss = kbp.losses.Distillation("values", temperature=temperature)
        found = float(loss(TEACHER, STUDENT))
        assert found == pytest.approx(expected, rel=1e-5)


def test_certain_outputs_are_finite():
    zeros_and_ones = np.eye(4)[None]
    for kind in ("classes", "labels"):
        loss = kbp.losses.Distillation(kind, from_logits=False)
        assert np.isfinite(float(loss(zeros_and_ones, zeros_and_ones[:, ::-1])))
        assert float(loss(zeros_and_ones, zeros_and_ones)) == 0.0
        loss = kbp.losses.Distillation(kind)
        assert np.isfinite(
            float(loss(1e4 * zeros_and_ones, 0 * TEACHER[:1, :4]))
        )


def test_weights_count_examples():
    weight = RNG.random((6, 5))
    p, q = softmax(TEACHER), softmax(STUDENT)
    expected = (weight * divergence(p, q)).mean()
    loss = kbp.losses.Distillation(temperature=1.0)
    found = float(loss(TEACHER, STUDENT, sample_weight=weight))
    assert found == pytest.approx(expected, rel=1e-5)


def test_it_is_saved_with_its_arguments():
    loss = kbp.losses.Distillation("labels", temperature=2, from_logits=False)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert type(again) is kbp.losses.Distillation
    assert again.get_config() == loss.get_config()


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "class"},
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
    ],
)
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="Argument `"):
        kbp.losses.Distillation(**arguments)


def test_gradient_is_that_of_cross_entropy_with_the_teachers_classes():
    """At temperature 1, up to the teacher's entropy."""
    tf = pytest.importorskip("tensorflow")
    student = tf.constant(STUDENT, "float32")
    losses = (
        kbp.losses.Distillation(temperature=1.0),
        keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    targets = (TEACHER.astype("float32"), softmax(TEACHER).astype("float32"))
    gradients = []
    for loss, target in zip(losses, targets, strict=True):
        with tf.GradientTape() as tape:
            tape.watch(student)
            value = loss(target, student)
        gradients.append(as_numpy(tape.gradient(value, student)))
    np.testing.assert_allclose(*gradients, atol=1e-6)
