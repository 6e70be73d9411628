"""What each rounding costs, against a reference in float64."""

import keras
import numpy as np
import pytest
from keras import layers

from kbp.quantization import fake_quantizers, quantize, sensitivity


def rounded(x, low, high, steps):
    scale = (high - low) / steps
    zero = np.floor(0.5 - low / scale) if steps == 255 else steps / 2
    places = np.clip(np.floor(x / scale + zero + 0.5), 0, steps)
    return (places - zero) * scale


def of_all(x):
    return rounded(x, min(x.min(), 0.0), max(x.max(), 0.0), 255)


def of_kernel(x):
    bound = np.abs(x).max()
    return rounded(x, -bound, bound, 254)


def same(x):
    return x


def two_layers(middle=1.0):
    """Return a model whose middle has a heavy tail, if a factor says so."""
    rng = np.random.default_rng(0)
    inputs = keras.Input((4,), name="x")
    x = layers.Dense(6, "relu", name="first")(inputs)
    model = keras.Model(inputs, layers.Dense(3, name="last")(x))
    first, last = (rng.normal(size=s) for s in ((4, 6), (6, 3)))
    first[:, 0] *= middle
    last[0] /= middle**2
    model.set_weights([first, np.zeros(6), last, np.zeros(3)])
    data = rng.normal(size=(64, 4)).astype("float32")
    return model, data


def test_errors_are_those_of_the_formula():
    model, data = two_layers()
    first, _, last, _ = (w.astype("float64") for w in model.get_weights())

    def outputs(x=same, a=same, h=same, b=same, y=same):
        hidden = h(np.maximum(x(data.astype("float64")) @ a(first), 0.0))
        return y(hidden @ b(last))

    exact = outputs()

    def error(**roundings):
        gap = np.mean((outputs(**roundings) - exact) ** 2, axis=0)
        return np.sqrt(np.mean(gap / exact.var(axis=0)))

    expected = {
        ("x", "activation"): error(x=of_all),
        ("first", "kernel"): error(a=of_kernel),
        ("first", "activation"): error(h=of_all),
        ("last", "kernel"): error(b=of_kernel),
        ("last", "activation"): error(y=of_all),
    }
    found = sensitivity(model, data, equalize=False)
    assert {(x.layer, x.tensor) for x in found.tensors} == {*expected}
    for x in found.tensors:
        # A float32 close to a tie may go to the other side.
        assert x.error == pytest.approx(expected[x.layer, x.tensor], rel=0.05)
    errors = [x.error for x in found.tensors]
    assert errors == sorted(errors, reverse=True)


def test_a_heavy_tailed_activation_comes_first():
    model, data = two_layers(middle=1000.0)
    found = sensitivity(model, data, equalize=False)
    culprit = found.tensors[0]
    assert (culprit.layer, culprit.tensor) == ("first", "activation")
    assert culprit.error > 10 * found.tensors[-1].error
    assert found.layers[0] == "first"
    skipped = sensitivity(model, data, skip=["first", "last"], equalize=False)
    assert skipped.error < found.error / 10


def test_a_model_rounds_afterwards_as_before():
    model, data = two_layers()
    quantized = quantize(model, data)
    before = quantized.predict(data, verbose=0)
    found = sensitivity(quantized, data)
    assert found.error > 0
    np.testing.assert_array_equal(quantized.predict(data, verbose=0), before)
    assert not any(q.passing or q.observing for q in fake_quantizers(quantized))


def test_options_are_of_a_model_in_float_alone():
    model, data = two_layers()
    quantized = quantize(model, data)
    with pytest.raises(ValueError, match="takes no skip"):
        sensitivity(quantized, data, skip=["last"])


def test_one_number_of_each_example_is_a_column():
    inputs = keras.Input((4,), name="x")
    x = layers.Dense(1)(layers.Dense(6, "relu")(inputs))
    flat = keras.Model(inputs, keras.ops.squeeze(x, -1))
    # Batches of 32 and 6, which are not one column each.
    data = np.random.default_rng(0).normal(size=(38, 4)).astype("float32")
    column = sensitivity(keras.Model(inputs, x), data)
    found = sensitivity(flat, data)
    assert found.error == pytest.approx(column.error, rel=1e-5)
    assert [x.error for x in found.tensors] == pytest.approx(
        [x.error for x in column.tensors], rel=1e-5
    )


def test_model_is_left_as_it_is():
    model, data = two_layers()
    quantized = quantize(model, data)
    chosen = [*fake_quantizers(quantized)][1]
    chosen.passing = True
    every = sensitivity(quantized, data).error
    passing = [q for q in fake_quantizers(quantized) if q.passing]
    assert passing == [chosen]
    chosen.passing = False
    assert sensitivity(quantized, data).error == every
