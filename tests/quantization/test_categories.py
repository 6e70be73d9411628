"""Classes that are told by indices."""

import keras
import numpy as np
import pytest
from contracts import as_numpy
from keras import layers

from kbp import export
from kbp.quantization import quantize


def model_of(mode, shape, dtype="int32", **options):
    layer = layers.CategoryEncoding(
        6, output_mode=mode, name="classes", **options
    )
    inputs = keras.Input(shape, dtype=dtype)
    outputs = layers.Flatten()(layer(inputs))
    return keras.Model(inputs, [outputs, layers.Dense(3)(outputs)])


@pytest.mark.long
@pytest.mark.parametrize(
    ("mode", "shape"),
    [
        ("one_hot", (1,)),
        ("one_hot", (4,)),
        ("multi_hot", (4,)),
        ("multi_hot", (1,)),
        ("count", (4,)),
    ],
)
def test_encoding_is_computed_in_integers(mode, shape, tmp_path):
    model = model_of(mode, shape)
    x = np.random.default_rng(0).integers(0, 6, (64, *shape)).astype("int32")
    quantized = quantize(model, x)
    path = tmp_path / "q.tflite"
    audit = export.to_tflite(quantized, path, verify_with=x)
    floats = {operation.name for operation in audit.float_operations}
    assert "FULLY_CONNECTED" not in floats
    encoded, _ = export.Runner(path).predict(x)
    step = 1 / 255 * max(1, encoded.max())
    np.testing.assert_allclose(encoded, as_numpy(model(x)[0]), atol=step)


def test_input_of_floats_is_asked_to_be_of_integers():
    model = model_of("multi_hot", (4,), dtype="float32")
    with pytest.raises(ValueError, match=r"^Layer classes .*dtype='int32'"):
        quantize(model, np.zeros((4, 4)))


@pytest.mark.parametrize(
    ("options", "message"), [({"sparse": True}, "sparse=False")]
)
def test_encoding_that_no_file_can_hold_is_named(options, message):
    inputs = keras.Input((4,), dtype="int32")
    layer = layers.CategoryEncoding(6, name="classes", **options)
    model = keras.Model(inputs, layers.Dense(3)(layer(inputs)))
    with pytest.raises(ValueError, match=rf"^Layer classes .*{message}"):
        quantize(model, np.zeros((4, 4)))
