"""Recurrent layers in eight bits, against Keras's and against NumPy."""

import keras
import numpy as np
import pytest
from contracts import as_numpy, check_layer
from keras import layers

import kbp
from kbp import export, graph
from kbp.quantization import (
    Recurrence,
    fake_quantizers,
    freeze,
    quantize,
    quantize_aware,
)
from kbp.quantization.lowering.lower import lower

RANDOM = np.random.default_rng(0)
KINDS = (layers.LSTM, layers.GRU, layers.SimpleRNN)
# In floats that eight bits hold; they compute nothing.
MOVES = {"DEQUANTIZE", "QUANTIZE", "RESHAPE", "SLICE", "TRANSPOSE", "WHILE"}
SLOW = pytest.mark.slow


def of(kind, **options):
    """Return a function of a layer whose bias is not zero, as if trained."""

    def body(x):
        return kind(8, bias_initializer="random_normal", **options)(x)

    return body


def two_ways(mode, **options):
    def body(x):
        inside = layers.GRU(6, bias_initializer="random_normal", **options)
        return layers.Bidirectional(inside, merge_mode=mode)(x)

    return body


def joined(kind, join, elsewhere, **options):
    """Return a function that joins a layer's results with those of another."""

    def body(x):
        own = of(kind, **options)(x)
        rows = x if options else layers.Flatten()(x)
        other = join()([own, layers.Dense(8)(rows)])
        return layers.Concatenate()([other, own]) if elsewhere else other

    return body


JOINED = {
    f"{kind.__name__} {sequences} into {join.__name__}{' and elsewhere' * e}": (
        joined(kind, join, e, **options)
    )
    for kind in KINDS
    for join in (layers.Concatenate, layers.Maximum)
    for sequences, options in (
        ("states", {}),
        ("sequences", {"return_sequences": True}),
    )
    for e in (False, True)
}
CASES = {
    **JOINED,
    "both ways, states": two_ways("concat"),
    **{kind.__name__: of(kind) for kind in KINDS},
    **{
        f"{kind.__name__} of sequences": of(kind, return_sequences=True)
        for kind in KINDS
    },
    "backwards": of(layers.LSTM, go_backwards=True),
    "backwards, sequences": of(
        layers.GRU, go_backwards=True, return_sequences=True
    ),
    "two": lambda x: of(layers.LSTM)(of(layers.GRU, return_sequences=True)(x)),
    "cell": lambda x: layers.RNN(layers.LSTMCell(5))(x),
    "without bias": lambda x: layers.GRU(5, use_bias=False)(x),
    "dropout": of(layers.LSTM, dropout=0.2, recurrent_dropout=0.3),
    "both ways": two_ways("concat", return_sequences=True),
    "both ways, sum": two_ways("sum"),
    "both ways, product": two_ways("mul"),
    "both ways, mean": two_ways("ave", return_sequences=True),
    "between convolutions": lambda x: layers.Conv1D(4, 3)(
        of(layers.GRU, return_sequences=True)(
            layers.Conv1D(6, 3, activation="relu")(x)
        )
    ),
}
QUICK = (
    *("LSTM of sequences", "GRU", "SimpleRNN", "both ways"),
    *("LSTM states into Concatenate", "both ways, states"),
)


def model_of(body, steps=12, features=5):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((steps, features), name="series")
    outputs = layers.Dense(3, name="head")(body(inputs))
    return keras.Model(inputs, outputs)


def examples(count=64, steps=12, features=5):
    random = np.random.default_rng(0)  # the same for any order of tests
    return random.normal(size=(count, steps, features)).astype("float32")


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_lowered_layers_give_what_keras_gives(name):
    model, x = model_of(CASES[name]), examples(4)
    lowered = lower(graph.flatten(model))
    assert any(isinstance(layer, Recurrence) for layer in lowered.layers)
    expected = as_numpy(model(x, training=False))
    np.testing.assert_allclose(as_numpy(lowered(x)), expected, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else SLOW) for n in CASES],
)
def test_file_computes_the_model_in_integers(name, tmp_path):
    model, x = model_of(CASES[name]), examples()
    path = tmp_path / "model.tflite"
    q = quantize(model, x)
    audit = export.to_tflite(q, path)
    assert {o.name for o in audit.float_operations} <= MOVES
    assert "FULLY_CONNECTED" in {o.name for o in audit.operations}
    found = export.verify(q, path, x, original=model)
    assert found.within_one >= 0.99
    # A concatenation has a range of its own, and rounds once more.
    assert found.exact >= (0.8 if name == "both ways" else 0.95)
    assert found.from_original < 0.2
    assert not found.problems


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else SLOW) for n in CASES],
)
def test_file_in_floats_has_builtin_operations_alone(name, tmp_path):
    model, x = model_of(CASES[name]), examples(8)
    path = tmp_path / "model.tflite"
    audit = export.to_tflite(model, path)
    assert not [o.name for o in audit.operations if o.name.startswith("Flex")]
    assert export.verify(model, path, x).maximum < 1e-5


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_file_does_not_grow_with_the_steps(kind, tmp_path):
    sizes = []
    for steps in (6, 60):
        model = model_of(of(kind), steps)
        q = quantize(model, examples(8, steps))
        sizes.append(export.to_tflite(q, tmp_path / "q.tflite").size)
    assert abs(sizes[1] - sizes[0]) < 500


def test_one_model_takes_any_number_of_steps(tmp_path):
    model = model_of(of(layers.LSTM), steps=None)
    q = quantize(model, examples())
    path = tmp_path / "q.tflite"
    export.to_tflite(q, path, input_shape=(20, 5))
    assert export.verify(q, path, examples(16, 20)).within_one >= 0.99


REFUSED = {
    "activation": (
        lambda x: layers.LSTM(4, activation="relu", name="odd")(x),
        "activation='tanh'",
    ),
    "gates": (
        lambda x: layers.GRU(
            4, recurrent_activation="hard_sigmoid", name="odd"
        )(x),
        "recurrent_activation='sigmoid'",
    ),
    "stateful": (
        lambda x: layers.LSTM(4, stateful=True, name="odd")(x),
        "stateful=False",
    ),
    "states": (
        lambda x: layers.LSTM(4, return_state=True, name="odd")(x)[0],
        "return_state=False",
    ),
    "initial state": (
        lambda x: layers.GRU(5, name="odd")(x, initial_state=x[:, 0]),
        "without an initial state",
    ),
    "reset before": (
        lambda x: layers.GRU(4, reset_after=False, name="odd")(x),
        "reset_after=True",
    ),
    "stacked cells": (
        lambda x: layers.RNN(
            [layers.LSTMCell(4), layers.LSTMCell(4)], name="odd"
        )(x),
        "use an LSTM, a GRU or a SimpleRNN",
    ),
    "unmerged": (
        lambda x: layers.Bidirectional(
            layers.GRU(4), merge_mode=None, name="odd"
        )(x)[0],
        "merge_mode",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_step_in_eight_bits_is_refused_by_name(name):
    body, advice = REFUSED[name]
    inputs = keras.Input(batch_shape=(8, 12, 5))
    model = keras.Model(inputs, body(inputs))
    with pytest.raises(ValueError, match=r"^Layer odd .*cannot be quan") as e:
        quantize_aware(model)
    assert advice in str(e.value)
    assert "skip=['odd']" in str(e.value)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, r, h, c):
    i, f, g, o = np.split(x + r, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(x, r, h, c):
    (xz, xr, xh), (rz, rr, rh) = (np.split(v, 3, axis=-1) for v in (x, r))
    z = sigmoid(xz + rz)
    return z * h + (1 - z) * np.tanh(xh + sigmoid(xr + rr) * rh), c


def simple(x, r, h, c):
    return np.tanh(x + r), c


FORMULAS = {
    "LSTMCell": (lstm, 4),
    "GRUCell": (gru, 3),
    "SimpleRNNCell": (simple, 1),
}


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("cell", FORMULAS)
def test_steps_are_those_of_the_formula(cell, keep, backwards):
    formula, gates = FORMULAS[cell]
    layer = Recurrence(
        cell,
        3,
        use_bias=True,
        return_sequences=True,
        go_backwards=backwards,
        keep_order=keep,
    )
    x = RANDOM.normal(size=(2, 7, 3 * gates)).astype("float32")
    layer.build(x.shape)
    layer.bias.assign(RANDOM.normal(size=3 * gates))
    found = as_numpy(layer(x))
    kernel, bias = (
        as_numpy(v).astype("float64") for v in (layer.kernel, layer.bias)
    )
    h = c = np.zeros((2, 3))
    order = range(7)[::-1] if backwards else range(7)
    expected = np.zeros((2, 7, 3))
    for step, place in enumerate(order):
        h, c = formula(x[:, place].astype("float64"), h @ kernel + bias, h, c)
        expected[:, place if keep else step] = h
    np.testing.assert_allclose(found, expected, atol=1e-6)
    layer.return_sequences = False
    np.testing.assert_allclose(as_numpy(layer(x)), h, atol=1e-6)


def test_ranges_hold_the_values_of_all_steps():
    """Of a SimpleRNN, they can be told from the results."""
    model = model_of(of(layers.SimpleRNN, return_sequences=True))
    x = examples()
    q = quantize(model, x)
    rnn = model.layers[1]
    states = as_numpy(rnn(x)).astype("float64")
    before = np.pad(states, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    inputs, recurrent = (
        x @ as_numpy(rnn.cell.kernel),
        before @ as_numpy(rnn.cell.recurrent_kernel),
    )
    inputs = inputs + as_numpy(rnn.cell.bias)
    (made,) = (y for y in q.layers if isinstance(y, Recurrence))
    for name, values in (
        ("inputs", inputs),
        ("recurrent", recurrent),
        ("gates", inputs + recurrent),
    ):
        low, high = made.quantizers[name].weights
        np.testing.assert_allclose(float(low), values.min(), rtol=1e-4)
        np.testing.assert_allclose(float(high), values.max(), rtol=1e-4)


@pytest.mark.parametrize("cell", FORMULAS)
def test_results_are_among_256_values(cell):
    layer = Recurrence(cell, 3, return_sequences=True, rounds=True)
    x = RANDOM.normal(size=(9, 7, 3 * FORMULAS[cell][1])).astype("float32")
    places = as_numpy(layer(x)) / float(layer.quantizers["state"].scale())
    np.testing.assert_allclose(places, places.round(), atol=1e-3)
    assert len(np.unique(places.round())) > 20


@pytest.mark.long
def test_training_moves_ranges_and_weights_until_they_are_frozen():
    q = quantize(model_of(of(layers.LSTM)), examples() / 100)
    (made,) = (y for y in q.layers if isinstance(y, Recurrence))
    names = ("inputs", "recurrent", "gates", "kept", "taken", "memory")
    before = {n: float(made.quantizers[n].scale()) for n in names}
    kernel = as_numpy(made.kernel)
    x = examples()
    q.compile("sgd", "mse")
    q.fit(x, x[:, 0, :3], epochs=1, verbose=0)
    after = {n: float(made.quantizers[n].scale()) for n in names}
    assert all(after[n] > before[n] for n in names)
    assert np.abs(as_numpy(made.kernel) - kernel).max() > 0
    freeze(q)
    q.compile("sgd", "mse")
    q.fit(10 * x, x[:, 0, :3], epochs=1, verbose=0)
    assert after == {n: float(made.quantizers[n].scale()) for n in names}


@pytest.mark.long
def test_quantized_recurrent_layers_are_saved_and_loaded(tmp_path):
    q = quantize(model_of(CASES["both ways"]), examples())
    q.save(tmp_path / "q.keras")
    loaded = keras.models.load_model(tmp_path / "q.keras")
    x = examples(4)
    np.testing.assert_array_equal(as_numpy(loaded(x)), as_numpy(q(x)))
    count = sum(1 for _ in fake_quantizers(q))
    assert sum(1 for _ in fake_quantizers(loaded)) == count


def test_what_trains_and_is_regularized_stays_so():
    def body(x):
        return layers.LSTM(
            4,
            kernel_regularizer="l2",
            recurrent_regularizer="l1",
            bias_regularizer="l2",
            recurrent_constraint="max_norm",
            name="rnn",
        )(x)

    model = model_of(body)
    q = quantize(model, examples())
    losses = [float(sum(m.losses)) for m in (model, q)]
    assert losses[0] > 0
    assert losses[0] == pytest.approx(losses[1])
    (made,) = (y for y in q.layers if isinstance(y, Recurrence))
    assert made.recurrent_constraint is not None
    model.get_layer("rnn").trainable = False
    q = quantize(model, examples())
    assert [w.path.split("/")[0] for w in q.trainable_weights] == ["head"] * 2


@pytest.mark.long
@pytest.mark.parametrize("cell", FORMULAS)
def test_recurrence_keeps_the_contract_of_layers(cell, tmp_path):
    gates = FORMULAS[cell][1]
    ranges = len(Recurrence(cell, 2).measured) + 2  # inputs, kernel
    check_layer(
        lambda: Recurrence(cell, 2, return_sequences=True, rounds=True),
        (5, 2 * gates),
        tmp_path=tmp_path,
        state=2 * ranges,
    )


def test_inputs_of_another_size_are_refused():
    with pytest.raises(ValueError, match="of 3 units reads 12 features"):
        Recurrence("LSTMCell", 3).build((None, 5, 9))


@pytest.mark.long
def test_sensitivity_names_the_tensors_of_a_step():
    model = model_of(lambda x: layers.LSTM(4, name="rnn")(x))
    found = kbp.quantization.sensitivity(model, examples())
    tensors = {t.tensor for t in found.tensors if t.layer == "rnn"}
    assert {"kernel", "inputs", "gates", "memory", "state"} <= tensors


@pytest.mark.long
def test_channels_before_recurrent_units_are_removed_first(tmp_path):
    def body(x):
        x = layers.Conv1D(8, 3, activation="relu", name="conv")(x)
        return layers.LSTM(4)(x)

    model, x = model_of(body), examples()
    kernel, bias = model.get_layer("conv").get_weights()
    kernel[..., ::2], bias[::2] = 0, 0
    model.get_layer("conv").set_weights([kernel, bias])
    small = kbp.sparsity.shrink(model)
    assert small.get_layer("conv").filters == 4
    q = quantize(small, x)
    path = tmp_path / "q.tflite"
    export.to_tflite(q, path)
    found = export.verify(q, path, x, original=model)
    assert not found.problems
    assert found.from_original < 0.2


def noisy_sine(count, steps=24):
    """Return windows of sines with noise, and what comes next without it."""
    phase = RANDOM.uniform(0, 2 * np.pi, (count, 1))
    rate = RANDOM.uniform(0.2, 0.6, (count, 1))
    values = np.sin(phase + rate * np.arange(steps + 1))
    noise = RANDOM.normal(scale=0.1, size=(count, steps))
    x = values[:, :-1] + noise
    return x[..., None].astype("float32"), values[:, -1:].astype("float32")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU])
def test_forecast_in_eight_bits_is_about_as_good(kind, tmp_path):
    """The error is that of a forecast, not of eight bits: at most a fifth."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((24, 1), name="series")
    model = keras.Model(inputs, layers.Dense(1)(kind(16)(inputs)))
    (x, y), (test_x, test_y) = noisy_sine(2000), noisy_sine(500)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(x, y, epochs=8, verbose=0)
    floating = model.evaluate(test_x, test_y, verbose=0)
    assert floating < 0.1 * test_y.var()
    q = quantize(model, x)
    q.compile(keras.optimizers.Adam(1e-3), "mse")
    q.fit(x, y, epochs=2, verbose=0)
    path = tmp_path / "q.tflite"
    export.to_tflite(q, path, input_dtype="float32", verify_with=test_x)
    found = export.Runner(path).predict(test_x)
    assert np.mean((found - test_y) ** 2) < 1.2 * floating
