"""Columns in very different units keep their values in an int8 file."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

import kbp
from kbp.quantization import quantize, quantize_aware

RANDOM = np.random.default_rng(0)
TABLES = {
    "units that differ": ((0.002, 3.0, 1e5), (0.001, 1.0, 2e4)),
    "far from zero": ((1000.0, 1001.0, 999.0), (1.0, 2.0, 0.5)),
    "a column that never changes": ((5.0, 3.0, 2.0), (0.0, 1.0, 1.0)),
    "alike": ((0.0, 1.0, -1.0), (1.0, 2.0, 0.7)),
}


def _table(name):
    means, deviations = TABLES[name]
    values = RANDOM.normal(means, deviations, (512, 3))
    return values.astype("float32")


def _adapted(x):
    normalization = layers.Normalization(name="columns")
    normalization.adapt(x)
    return normalization


def _trained(x, *, constant=False):
    """A BatchNormalization as if it had been trained on rows."""
    norm = layers.BatchNormalization(name="columns")
    norm.build((None, 3))
    norm.set_weights(
        [
            np.array([0.0 if constant else 0.7, -1.2, 1.0]),
            np.array([0.3, -0.2, 0.0]),
            x.mean(axis=0),
            x.var(axis=0),
        ]
    )
    return norm


def _model(x, before=lambda x: x, first=_adapted):
    keras.utils.set_random_seed(0)
    normalization = first(x)
    inputs = keras.Input((3,))
    hidden = layers.Dense(16, activation="relu")(normalization(before(inputs)))
    return keras.Model(inputs, layers.Dense(1)(hidden))


CONSTANT = functools.partial(_trained, constant=True)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "skip", "first"),
    [
        *((name, (), _adapted) for name in TABLES),
        # What is skipped and fits eight bits is another matter.
        *((name, ("columns",), _adapted) for name in TABLES if name != "alike"),
        ("units that differ", (), _trained),
        ("units that differ", ("columns",), CONSTANT),
        *(
            pytest.param(name, (), first, marks=pytest.mark.slow)
            for name in TABLES
            for first in (_trained, CONSTANT)
        ),
    ],
)
def test_the_int8_file_is_near_the_float_model(name, skip, first, tmp_path):
    x = _table(name)
    model = _model(x, first=first)
    rounded = quantize(model, x, skip=skip)
    kbp.export.to_tflite(rounded, tmp_path / "model.tflite")
    found = kbp.export.Runner(tmp_path / "model.tflite").predict(x)
    expected = model.predict(x, verbose=0)
    # Tensors of eight bits are each some hundredths of a deviation off.
    assert np.abs(found - expected).mean() < 0.06 * expected.std()
    check = kbp.export.verify(
        rounded, tmp_path / "model.tflite", x, original=model
    )
    assert not check.problems


@pytest.mark.long
def test_only_units_that_need_it_take_floats():
    for name in TABLES:
        kinds = {type(layer).__name__ for layer in quantized(name).layers}
        assert ("Standardization" in kinds) == (name != "alike"), name


def quantized(name):
    x = _table(name)
    return quantize_aware(_model(x), x)


@pytest.mark.parametrize(
    ("first", "before"),
    [
        (_adapted, layers.Rescaling(1.0)),
        (_trained, lambda x: layers.Concatenate()([x[:, :1], x[:, 1:]])),
    ],
)
def test_a_normalization_inside_is_refused_by_name(first, before):
    x = _table("units that differ")
    model = _model(x, before, first)
    with pytest.raises(ValueError, match=r"Layer columns .* different units"):
        quantize_aware(model, x)


def test_images_still_enter_in_eight_bits():
    images = RANDOM.uniform(0, 255, (32, 8, 8, 3)).astype("float32")
    normalization = layers.Normalization()
    normalization.adapt(images)
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), normalization, layers.Conv2D(4, 3)]
    )
    kinds = {type(x).__name__ for x in quantize_aware(model, images).layers}
    assert "Standardization" not in kinds
