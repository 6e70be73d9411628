"""States that go on from batch to batch."""

import fresh
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kbp.layers import TruncatedRNN

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 12, 3)).astype("f4")
HALVES = X[:, :6], X[:, 6:]
KINDS = (layers.LSTM, layers.GRU, layers.SimpleRNN)


def pair(kind, steps=None, **options):
    """Return a layer, and the same one whose states go on."""
    plain = kind(5, **options)
    plain.build(X.shape)
    inner = kind(5, **options)
    carried = TruncatedRNN(inner, steps, streams=4)
    carried.build(HALVES[0].shape)
    inner.set_weights(plain.get_weights())
    return plain, carried


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [None, 6, 2])
def test_two_batches_are_one_sequence(kind, steps):
    plain, carried = pair(kind, steps, return_sequences=True)
    whole = plain(X)
    parts = [carried(half, training=True) for half in HALVES]
    found = np.concatenate(parts, axis=1)
    np.testing.assert_allclose(found, whole, atol=1e-6)
    carried.reset_state()
    again = carried(HALVES[0], training=True)
    np.testing.assert_allclose(again, whole[:, :6], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_stay_within_a_batch(kind):
    plain, carried = pair(kind)
    reader = kind.from_config({**plain.get_config(), "return_state": True})
    reader.build(X.shape)
    reader.set_weights(plain.get_weights())
    _, *states = reader(HALVES[0])
    carried(HALVES[0], training=True)
    found = []
    for call in (
        lambda: plain(HALVES[1], initial_state=states),
        lambda: carried(HALVES[1], training=True),
    ):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(call() ** 2)
        weights = (plain if not found else carried.layer).trainable_weights
        found.append(tape.gradient(loss, weights))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_inference_begins_anew_and_leaves_the_states():
    plain, carried = pair(layers.LSTM)
    carried(HALVES[0], training=True)
    before = [np.array(v) for v in carried.carried]
    assert all(np.abs(v).max() > 0 for v in before)
    np.testing.assert_array_equal(carried(X[:3]), plain(X[:3]))
    for old, new in zip(before, carried.carried, strict=True):
        np.testing.assert_array_equal(old, new)


def test_fit_keeps_states_in_the_file(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 3))
    layer = TruncatedRNN(layers.GRU(5, dropout=0.1), 3, streams=4)
    model = keras.Model(inputs, layers.Dense(1)(layer(inputs)))
    model.compile("sgd", "mse")
    x = RNG.normal(size=(12, 6, 3)).astype("f4")
    y = RNG.normal(size=(12, 1))
    model.fit(x, y, batch_size=4, verbose=0, shuffle=False)
    (state,) = layer.carried
    assert np.abs(state).max() > 0
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.layers[1].carried[0], state)
    assert loaded.layers[1].streams == 4


JAX = """
import keras, numpy as np
from keras import layers
from kbp.layers import TruncatedRNN
layer = TruncatedRNN(layers.LSTM(5), 3, streams=4)
model = keras.Sequential([keras.Input((6, 3)), layer, layers.Dense(1)])
model.compile("sgd", "mse")
x = np.random.default_rng(0).normal(size=(8, 6, 3))
model.fit(x, np.ones((8, 1)), batch_size=4, verbose=0)
print(all(float(abs(np.asarray(v)).max()) > 0 for v in layer.carried))
"""


@pytest.mark.long
def test_states_go_on_on_jax():
    pytest.importorskip("jax")
    assert fresh.python(JAX, KERAS_BACKEND="jax").strip() == "True"


def test_wrong_uses_are_named():
    with pytest.raises(ValueError, match="`streams` must be a whole number"):
        TruncatedRNN(layers.LSTM(2), 3, streams=0)
    for option in ("stateful", "go_backwards"):
        inner = layers.LSTM(2, **{option: True})
        with pytest.raises(ValueError, match="`streams` is for a layer that"):
            TruncatedRNN(inner, 3, streams=4)
    _, carried = pair(layers.LSTM)
    with pytest.raises(ValueError, match="has 4 streams, so training batches"):
        carried(X[:3], training=True)
