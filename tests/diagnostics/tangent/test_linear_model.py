"""Networks that are linear in their weights."""

import fresh
import keras
import numpy as np
import pytest
from networks import dense_model, jacobian_of, outputs_of, vector_of

from kbp.diagnostics import linearized

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3))
UNITS = (4, 2)

LOAD = """
import sys
import keras, kbp
import numpy as np
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
print(float(keras.ops.sum(model(np.ones((1, 3))))))
model.fit(np.ones((2, 3)), np.ones((2, 2)), verbose=0)
"""


def shifted(linear):
    """Move the weights of a linearized model, and return by how much."""
    for variable in linear.trainable_variables:
        variable.assign(RNG.normal(size=variable.shape))
    return vector_of(linear)


def test_outputs_are_those_of_the_first_order():
    model = dense_model(*UNITS)
    weights = vector_of(model)
    linear = linearized(model)
    np.testing.assert_allclose(linear(X), model(X), rtol=1e-12)
    shift = shifted(linear)
    assert shift.shape == weights.shape
    expected = outputs_of(weights, X, UNITS) + (
        jacobian_of(weights, X, UNITS) @ shift
    )
    np.testing.assert_allclose(np.array(linear(X)), expected, rtol=1e-10)


@pytest.mark.long
@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.LSTM(3),
        lambda: keras.layers.Conv1D(3, 2, activation="gelu"),
        lambda: keras.layers.BatchNormalization(),
        lambda: keras.layers.Dropout(0.5),
    ],
)
def test_other_layers_train_and_leave_the_network_as_it_is(layer):
    model = keras.Sequential(
        [
            keras.Input((5, 2)),
            layer(),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    before = [np.array(v) for v in model.weights]
    linear = linearized(model)
    assert len(linear.trainable_variables) == len(model.trainable_variables)
    assert all(v.trainable for v in model.trainable_variables)
    x, y = RNG.normal(size=(8, 5, 2)), RNG.normal(size=(8, 1))
    linear.compile(keras.optimizers.SGD(0.01), "mse")
    past = linear.fit(x, y, epochs=5, verbose=0)
    assert past.history["loss"][-1] < past.history["loss"][0]
    for one in (model, linear.base):
        for old, new in zip(before, one.weights, strict=True):
            np.testing.assert_array_equal(old, np.array(new))


def test_weights_that_are_not_trained_stay_so():
    model = dense_model(4, 4, 2)
    model.layers[0].trainable = False
    linear = linearized(model)
    sizes = [v.shape for v in linear.trainable_variables]
    assert sizes == [v.shape for v in model.trainable_variables]
    np.testing.assert_allclose(linear(X), model(X), rtol=1e-12)


def test_structures_of_outputs_are_kept():
    inputs = keras.Input((3,))
    outputs = {
        "u": keras.layers.Dense(1)(inputs),
        "v": keras.layers.Dense(2)(inputs),
    }
    linear = linearized(keras.Model(inputs, outputs))
    shapes = {key: value.shape for key, value in linear(X).items()}
    assert shapes == {"u": (5, 1), "v": (5, 2)}


@pytest.mark.long
def test_they_are_saved_and_load_in_a_fresh_process(tmp_path):
    linear = linearized(dense_model(*UNITS, dtype="float32"))
    linear.compile("sgd", "mse")
    shifted(linear)
    path = tmp_path / "linear.keras"
    linear.save(path)
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(np.array(loaded(X)), np.array(linear(X)))
    expected = float(keras.ops.sum(linear(np.ones((1, 3)))))
    assert float(fresh.python(LOAD, path)) == expected


class Own(keras.Model):
    def __init__(self, inside):
        super().__init__(name="own")
        self.inside = inside

    def call(self, x):
        return self.inside(x)


def own():
    model = Own(keras.layers.Dense(3))
    model(X)
    return model


def frozen():
    model = dense_model(*UNITS)
    model.trainable = False
    return model


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: keras.Sequential([keras.layers.Dense(1)]), "must be built"),
        (frozen, "weights to train"),
        (own, "own cannot be made anew"),
    ],
)
def test_what_cannot_be_linearized_is_said(make, words):
    with pytest.raises(ValueError, match=words):
        linearized(make())
