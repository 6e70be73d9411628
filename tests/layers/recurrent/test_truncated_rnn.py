"""`TruncatedRNN` computes what its layer does, with truncated gradients."""

import itertools

import fresh
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from recurrences import CELLS, at, by_age, in_blocks, truncated

import kbp
from kbp.layers import TruncatedRNN

MODES = ("blocks", "sliding", "randomized")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 9, 4))
STEPS = (1, 2, 4, 8)


def run(layer, x, grads=None, states=None, jit=None, **options):
    """Return outputs and gradients by weights, inputs and first states."""
    states = [] if states is None else states

    def both(x, states):
        with tf.GradientTape() as tape:
            tape.watch([x, *states])
            given = {"initial_state": states} if states else {}
            y = layer(x, training=True, **given, **options)
            flat = keras.tree.flatten(y)
            loss = sum(
                tf.reduce_sum(g * each)
                for g, each in zip(factors(flat, grads), flat, strict=True)
            )
        by = [*layer.trainable_variables, x, *states]
        return flat, tape.gradient(
            loss, by, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

    if jit is not None:
        both = tf.function(both, jit_compile=jit)
    found = both(tf.constant(x), [*map(tf.constant, states)])
    return [[x.numpy() for x in part] for part in found]


def factors(tensors, given):
    if given is not None:
        return [given]
    rng = np.random.default_rng(1)
    return [rng.normal(size=tuple(x.shape)) for x in tensors]


def close(found, expected, **tolerance):
    tolerance = {"rtol": 1e-9, "atol": 1e-11} | tolerance
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, **tolerance)


def wrapped(layer, steps, mode, **options):
    if mode == "randomized":
        options = {"seed": 3} | options
    return TruncatedRNN(layer, steps, mode=mode, **options)


def draws(monkeypatch, cuts):
    """Let the cuts be before some steps."""
    monkeypatch.setattr(
        keras.random,
        "uniform",
        lambda shape, seed: tf.constant(
            [0.0 if t in cuts else 1.0 for t in range(shape[0])]
        ),
    )


@pytest.mark.long
@pytest.mark.parametrize("jit", [None, False, True])
@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_gradients_are_those_of_the_formula(name, sequences, jit, monkeypatch):
    cell = CELLS[name]
    states = [RNG.normal(size=(3, 5)) for _ in range(cell.states)]
    grads = RNG.normal(size=(3, 9, 5))
    if not sequences:
        grads[:, :-1] = 0
    given = grads if sequences else grads[:, -1]
    layer = getattr(layers, name)(
        5,
        return_sequences=sequences,
        bias_initializer="normal",
        dtype="float64",
    )
    layer.build(X.shape)
    weights = layer.get_weights()
    cuts = {2, 3, 7}
    draws(monkeypatch, cuts)
    for steps in STEPS if jit is None else (2,):
        ways = {
            "blocks": in_blocks(9, steps),
            "sliding": by_age(steps),
            "randomized": at(cuts, 1 / max(2, steps)),
        }
        for mode, factor in ways.items():
            used = max(2, steps) if mode == "randomized" else steps
            ours = wrapped(layer, used, mode)
            outputs, found = run(ours, X, given, states, jit)
            expected, gradients = truncated(
                cell, weights, X, states, grads, factor
            )
            if not sequences:
                expected = expected[:, -1]
            close(outputs, [expected])
            close(found, gradients)


@pytest.mark.long
def test_mean_over_all_cuts_is_the_full_gradient(monkeypatch):
    layer = layers.LSTM(3, return_sequences=True, dtype="float64")
    x, steps = X[:, :6], 3
    _, full = run(layer, x)
    ours = wrapped(layer, steps, "randomized")
    sums = [np.zeros_like(x) for x in full]
    for cuts in itertools.product((False, True), repeat=5):
        draws(monkeypatch, {t + 1 for t, cut in enumerate(cuts) if cut})
        chance = np.prod([1 / steps if cut else 1 - 1 / steps for cut in cuts])
        _, found = run(ours, x)
        sums = [a + chance * b for a, b in zip(sums, found, strict=True)]
    close(sums, full)


@pytest.mark.long
def test_draws_are_those_of_the_seed_and_have_their_rate():
    layer = layers.SimpleRNN(3, return_sequences=True, dtype="float64")
    runs = [run(wrapped(layer, 3, "randomized"), X) for _ in range(2)]
    for ours, theirs in zip(*runs, strict=True):
        close(ours, theirs, rtol=0, atol=0)
    other = run(wrapped(layer, 3, "randomized", seed=4), X)
    assert np.abs(other[1][0] - runs[0][1][0]).max() > 1e-3
    # A unit that keeps its state shows the factors, and how long they last.
    keep = layers.SimpleRNN(1, activation=None, use_bias=False)
    layer = wrapped(keep, 4, "randomized", seed=0)
    x = tf.zeros((1, 100, 1))
    layer.build(x.shape)
    keep.set_weights([np.ones((1, 1)), np.ones((1, 1))])

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return tape.gradient(y, x)[0, ::-1, 0]

    lengths = []
    for _ in range(300):
        found = gradient().numpy()
        lengths.append((found > 0).sum())
        expected = (4 / 3) ** np.arange(lengths[-1])
        np.testing.assert_allclose(found[: lengths[-1]], expected, rtol=1e-4)
    # Geometric, with mean 4 and deviation sqrt(12).
    assert abs(np.mean(lengths) - 4) < 4 * np.sqrt(12 / 300)


def cells():
    """Yield each kind of layer, of a way to make it."""
    yield "SimpleRNN", lambda **o: layers.SimpleRNN(3, **o)
    yield "LSTM", lambda **o: layers.LSTM(3, **o)
    yield "GRU", lambda **o: layers.GRU(3, **o)
    yield "GRU of before", lambda **o: layers.GRU(3, reset_after=False, **o)
    yield "stacked", stacked


def stacked(dropout=0.0, recurrent_dropout=0.0, dtype=None, **options):
    """Return a layer of two cells, which drop in different places."""
    own = {"dtype": dtype}
    cells = [
        layers.LSTMCell(4, dropout=dropout, seed=1, **own),
        layers.GRUCell(3, recurrent_dropout=recurrent_dropout, seed=2, **own),
    ]
    return layers.RNN(layers.StackedRNNCells(cells, **own), **own, **options)


OPTIONS = [
    {},
    {"return_sequences": True},
    {"return_state": True},
    {"return_sequences": True, "return_state": True, "go_backwards": True},
    {"go_backwards": True},
    {"masked": True},
    {"masked": True, "return_sequences": True, "go_backwards": True},
    {"masked": True, "return_sequences": True, "zero_output_for_mask": True},
    {"masked": True, "zero_output_for_mask": True},
    {"stateful": True, "return_sequences": True, "return_state": True},
    {"dropout": 0.5, "recurrent_dropout": 0.5, "return_sequences": True},
    {"dropout": 0.5, "recurrent_dropout": 0.5},
]
MASK = np.array(
    [[0, 0, 1, 1, 0, 1, 1, 1, 0], [1] * 9, [1, 0, 1, 0, 1, 1, 0, 1, 1]], bool
)


def drawing(layer):
    """Begin all draws of a layer anew."""
    for each in layer._flatten_layers():
        generator = getattr(each, "seed_generator", None)
        if generator is not None:
            generator.state.assign([7, 0])


@pytest.mark.long
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", [name for name, _ in cells()])
def test_each_layer_computes_what_it_does_alone(kind, options, monkeypatch):
    options = dict(options)
    mask = MASK if options.pop("masked", False) else None
    layer = dict(cells())[kind](dtype="float64", **options)
    more = {} if mask is None else {"mask": tf.constant(mask)}

    def twice(layer):
        found = []
        for _ in range(1 + layer.stateful):
            drawing(layer)
            found.append(run(layer, X, **more))
        if isinstance(layer, TruncatedRNN) and layer.stateful:
            layer.reset_state()
        for state in keras.tree.flatten(getattr(layer, "states", None) or []):
            state.assign(0 * state)  # Keras fails at two cells
        return found

    layer.build(X.shape)
    expected = twice(layer)
    draws(monkeypatch, ())
    for mode in MODES:
        ours = wrapped(layer, 2, mode)
        for (outputs, _), (theirs, _) in zip(
            twice(ours), expected, strict=True
        ):
            close(outputs, theirs)
    # Never cut, by a factor that is hardly one: all of the gradient.
    ours = wrapped(layer, 10**9, "randomized")
    for found, theirs in zip(twice(ours), expected, strict=True):
        close(found[1], theirs[1], rtol=1e-6, atol=1e-8)


def stopping_blocks(layer, x, mask, steps):
    """Return a layer's outputs, block after block."""
    time = x.shape[1]
    starts = [0, *range((time - 1) % steps + 1, time, steps)]
    states, found = None, []
    for start, end in zip(starts, [*starts[1:], time], strict=True):
        part = slice(start, end)
        y, *states = layer(
            x[:, part], mask=mask[:, part], initial_state=states, training=True
        )
        states = [tf.stop_gradient(state) for state in states]
        found.append(y)
    return tf.concat(found, axis=1)


def windows(layer, x, mask, steps):
    """Return a layer's outputs, each of a window of its own."""
    found = []
    for end in range(1, x.shape[1] + 1):
        states, start = None, max(0, end - steps)
        if start:
            _, *states = layer(x[:, :start], mask=mask[:, :start])
            states = [tf.stop_gradient(state) for state in states]
        part = slice(start, end)
        y, *_ = layer(x[:, part], mask=mask[:, part], initial_state=states)
        found.append(y[:, -1])
    return tf.stack(found, axis=1)


@pytest.mark.long
@pytest.mark.parametrize("steps", [1, 2, 3, 5])
@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_masks_count_as_steps(kind, zeros, steps):
    layer = dict(cells())[kind](
        dtype="float64",
        return_sequences=True,
        return_state=True,
        zero_output_for_mask=zeros,
    )
    # Each block begins with a step that counts: the layer alone would repeat
    # zeros there.
    mask = MASK | ((9 - np.arange(9)) % steps == 0)
    mask = tf.constant(mask)
    layer.build(X.shape)
    for mode, way in (("blocks", stopping_blocks), ("sliding", windows)):
        ours = wrapped(layer, steps, mode)
        found = [
            run_first(f)
            for f in (
                lambda x, o=ours: o(x, mask=mask, training=True)[0],
                lambda x, w=way: w(layer, x, mask, steps),
            )
        ]
        close(found[0], found[1])


def run_first(function):
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
        loss = tf.reduce_sum(tf.sin(3 * y))
    return y, tape.gradient(loss, x)


@pytest.mark.parametrize("kind", [name for name, _ in cells()])
def test_without_steps_it_is_the_layer_to_the_bit(kind):
    layer = dict(cells())[kind](return_sequences=True)
    x = X.astype("f4")
    expected = run(layer, x)
    found = run(TruncatedRNN(layer, None), x)
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_cell_is_made_a_layer():
    layer = TruncatedRNN(layers.LSTMCell(3), 2)
    assert type(layer.layer) is layers.RNN
    assert layer(X[:, :, :2], training=True).shape == (3, 3)


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
def test_both_directions_are_truncated(mode):
    layer = wrapped(
        layers.GRU(3, return_sequences=True, dtype="float64"), 4, mode
    )
    both = layers.Bidirectional(layer, dtype="float64")
    both.build(X.shape)
    assert both.backward_layer.go_backwards
    assert isinstance(both.backward_layer, TruncatedRNN)
    plain = layers.Bidirectional(layer.layer, dtype="float64")
    plain.build(X.shape)
    plain.set_weights([v.numpy() for v in both.weights if "seed" not in v.path])
    ours, theirs = (run(each, X) for each in (both, plain))
    close(ours[0], theirs[0])
    assert any(
        np.abs(a - b).max() > 1e-3
        for a, b in zip(ours[1], theirs[1], strict=True)
    )


@pytest.mark.long
def test_masks_of_embeddings_come_through(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((9,), dtype="int32"),
            layers.Embedding(5, 4, mask_zero=True),
            wrapped(
                layers.LSTM(3, return_sequences=True, dropout=0.2, seed=1),
                3,
                "randomized",
            ),
            TruncatedRNN(layers.GRU(3), 2),
        ]
    )
    tokens = RNG.integers(0, 5, (6, 9))
    tokens[:, -1:] = 0
    ours = model.predict(tokens, verbose=0)
    plain = keras.Sequential(
        [
            keras.Input((9,), dtype="int32"),
            *(getattr(each, "layer", each) for each in model.layers),
        ]
    )
    np.testing.assert_array_equal(ours, plain.predict(tokens, verbose=0))
    model.compile("sgd", "mse")
    before = [v.numpy() for v in model.trainable_variables]
    model.fit(tokens, np.ones((6, 3)), epochs=2, verbose=0)
    for old, new in zip(before, model.trainable_variables, strict=True):
        assert np.abs(old - new.numpy()).max() > 0
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    ours, theirs = (m.predict(tokens, verbose=0) for m in (model, loaded))
    np.testing.assert_array_equal(ours, theirs)
    own = [
        {
            key: m.layers[1].get_config()[key]
            for key in ("steps", "mode", "seed")
        }
        for m in (model, loaded)
    ]
    assert own[0] == own[1] == {"steps": 3, "mode": "randomized", "seed": 3}


def test_it_is_shrunk_and_exported_as_the_layer(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 3)),
            layers.Dense(8, activation="relu"),
            TruncatedRNN(layers.LSTM(4, return_sequences=True), 2),
            wrapped(layers.GRU(4), 2, "randomized"),
            layers.Dense(2),
        ]
    )
    kernel, bias = model.layers[0].get_weights()
    kernel[:, 3:5] = bias[3:5] = 0
    model.layers[0].set_weights([kernel, bias])
    x = RNG.normal(size=(4, 6, 3)).astype("f4")
    shrunk = kbp.sparsity.shrink(model)
    assert shrunk.layers[2].cell.kernel.shape == (6, 16)
    np.testing.assert_allclose(shrunk(x), model(x), atol=1e-6)
    path = tmp_path / "model.tflite"
    kbp.export.to_tflite(shrunk, path, verify_with=x)
    assert path.is_file()


@pytest.mark.long
@pytest.mark.parametrize("bidirectional", [False, True])
def test_eight_bits_are_those_of_the_layer_inside(bidirectional):
    inner = layers.LSTM(4, name="inner")
    outer = TruncatedRNN(inner, 3)
    built = []
    for layer in (inner, outer):
        keras.utils.set_random_seed(0)
        if bidirectional:
            layer = layers.Bidirectional(layer, name="both")
        inputs = keras.Input((6, 3))
        built.append(keras.Model(inputs, layers.Dense(2)(layer(inputs))))
    one, other = built
    other.set_weights(one.get_weights())
    x = RNG.normal(size=(16, 6, 3)).astype("f4")
    found = [kbp.quantization.quantize_aware(model, [x])(x) for model in built]
    np.testing.assert_array_equal(*found)
    assert np.abs(found[0] - one(x)).max() > 0


def test_activity_is_penalized_as_the_layers():
    found = []
    for make in (lambda x: x, lambda x: TruncatedRNN(x, 3)):
        keras.utils.set_random_seed(0)
        layer = make(layers.GRU(3, activity_regularizer="l2"))
        layer(X.astype("f4"), training=True)
        found.append(float(layer.losses[0]))
    assert len(layer.losses) == 1
    assert found[0] == pytest.approx(found[1], rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((layers.Dense(3), 2), "`layer` must be keras.layers.LSTM"),
        ((layers.ConvLSTM1D(3, 2), 2), "`layer` must be keras.layers.LSTM"),
        ((layers.Bidirectional(layers.GRU(3)), 2), "wrap this layer in"),
        ((layers.GRU(3, unroll=True), 2), "must not be unrolled"),
        ((layers.GRU(3), 0), r"`steps` must be.*steps=0"),
        ((layers.GRU(3), 2.5), r"`steps` must be.*steps=2.5"),
    ],
)
def test_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        TruncatedRNN(*arguments)


def test_wrong_words_are_named():
    with pytest.raises(ValueError, match=r"`mode` must be one of.*'never'"):
        TruncatedRNN(layers.GRU(3), 2, mode="never")
    with pytest.raises(ValueError, match="`seed` is for mode='randomized'"):
        TruncatedRNN(layers.GRU(3), 2, seed=1)
    with pytest.raises(ValueError, match="fixed number of time steps"):
        TruncatedRNN(layers.GRU(3), 2)(keras.Input((None, 4)))


ON_JAX = """
import sys
import jax, keras, kbp
import numpy as np
folder = sys.argv[1]
data = np.load(f"{folder}/data.npz")
found = {}
for mode in ("blocks", "sliding", "randomized"):
    for sequences in (True, False):
        layer = keras.layers.LSTM(3, return_sequences=sequences)
        seed = {"seed": 3} if mode == "randomized" else {}
        ours = kbp.layers.TruncatedRNN(layer, 4, mode=mode, **seed)
        ours.build(data["x"].shape)
        layer.set_weights([data[f"w{n}"] for n in range(3)])
        fixed = [v.value for v in ours.non_trainable_variables]

        @jax.jit
        def loss(weights, x):
            y, _ = ours.stateless_call(weights, fixed, x, training=True)
            return (y ** 2).sum()

        weights = [v.value for v in ours.trainable_variables]
        for n, g in enumerate(jax.grad(loss)(weights, data["x"])):
            found[f"{mode}_{sequences}_{n}"] = g
np.savez(f"{folder}/jax.npz", **found)
model = keras.Sequential([
    keras.Input((9, 4), batch_size=3),
    kbp.layers.TruncatedRNN(
        keras.layers.GRU(3, stateful=True, dropout=0.5), 2, mode="randomized"
    ),
])
model.compile("sgd", "mse")
model.fit(data["x"], np.ones((3, 3)), batch_size=3, verbose=0)
"""


@pytest.mark.long
def test_jax_has_tensorflows_gradients(tmp_path):
    pytest.importorskip("jax")
    x = X.astype("f4")
    layer = layers.LSTM(3)
    layer.build(x.shape)
    weights = {f"w{n}": w for n, w in enumerate(layer.get_weights())}
    np.savez(tmp_path / "data.npz", x=x, **weights)
    fresh.python(ON_JAX, tmp_path, KERAS_BACKEND="jax")
    found = np.load(tmp_path / "jax.npz")
    assert len(found.files) == 18
    for mode, sequences in itertools.product(MODES, (True, False)):
        layer.return_sequences = sequences
        ours = wrapped(layer, 4, mode)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(ours(x, training=True) ** 2)
        gradients = tape.gradient(loss, ours.trainable_variables)
        if mode == "randomized":
            continue  # other draws
        for n, gradient in enumerate(gradients):
            np.testing.assert_allclose(
                found[f"{mode}_{sequences}_{n}"], gradient, rtol=1e-4, atol=1e-5
            )


MEMORY = """
import jax, keras, kbp
import numpy as np

def need(steps, sequences, grad=True):
    layer = keras.layers.LSTM(32, return_sequences=sequences)
    layer = kbp.layers.TruncatedRNN(layer, steps)
    layer.build((64, 1000, 4))
    weights = [v.value for v in layer.trainable_variables]
    fixed = [v.value for v in layer.non_trainable_variables]

    def loss(weights, x):
        y, _ = layer.stateless_call(weights, fixed, x, training=True)
        return (y ** 2).mean()

    run = jax.jit(jax.grad(loss) if grad else loss)
    x = np.zeros((64, 1000, 4), "float32")
    analysis = run.lower(weights, x).compile().memory_analysis()
    return analysis.temp_size_in_bytes

for sequences in (True, False):
    # What the outputs take is no more than without gradients.
    least = need(None, sequences, grad=False)
    print((need(50, sequences) - least) / (need(None, sequences) - least))
"""


@pytest.mark.long
def test_blocks_spare_memory():
    pytest.importorskip("jax")
    shares = fresh.python(MEMORY, KERAS_BACKEND="jax").split()
    assert len(shares) == 2
    assert all(float(share) <= 0.15 for share in shares), shares
