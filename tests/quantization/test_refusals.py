"""What cannot be quantized is refused by name."""

import keras
import ml_dtypes
import numpy as np
import pytest
from contracts import image_model
from keras import layers, ops

import kbp
from kbp.quantization import FakeQuantize
from kbp.quantization import quantize_aware as quantize

conv = layers.Conv2D


@pytest.mark.parametrize(
    "body",
    [
        lambda x: layers.LayerNormalization(name="odd")(x),
        lambda x: layers.Conv2D(4, 3, activation="elu", name="odd")(x),
        lambda x: layers.Activation(lambda y: y + 1, name="odd")(x),
        lambda x: layers.BatchNormalization(axis=1, name="odd")(x),
        lambda x: layers.UpSampling2D(2, interpolation="area", name="odd")(x),
        lambda x: layers.ReLU(max_value=5, name="odd")(x),
        lambda x: layers.ReLU(negative_slope=0.1, name="odd")(x),
        lambda x: layers.EinsumDense("abcd,bde->abce", (8, 8, 5), name="odd")(
            x
        ),
        lambda x: layers.MultiHeadAttention(2, 2, name="odd")(x, x),
        lambda x: kbp.layers.ChannelScale(name="odd")(x),
        lambda x: layers.LSTM(4, activation="relu", name="odd")(
            layers.Reshape((8, 32))(x)
        ),
        lambda x: layers.Conv2DTranspose(3, 3, dilation_rate=2, name="odd")(x),
        lambda x: layers.EinsumDense("abcd,ef->abef", (8, 2, 3), name="odd")(x),
        lambda x: layers.Softmax(axis=(1, 2), name="odd")(x),
        lambda x: layers.BatchNormalization(axis=1, name="odd")(
            layers.Dense(5)(x)
        ),
        lambda x: layers.Embedding(5, 2, name="odd")(x[:, 0, 0]),
        lambda x: type("MyReLU", (layers.ReLU,), {})(name="odd")(x),
        lambda x: ops.image.resize(x, (4, 4), antialias=True),
    ],
)
def test_layer_without_a_rule_is_named(body):
    with pytest.raises(ValueError, match=r"^Layer (odd|resize).* cannot be qu"):
        quantize(image_model(body))


@pytest.mark.parametrize(
    "reader", [layers.GlobalAveragePooling1D, lambda **k: layers.LSTM(4, **k)]
)
@pytest.mark.parametrize(
    "first",
    [
        lambda: (
            keras.Input((12,), dtype="int32"),
            layers.Embedding(30, 8, mask_zero=True),
        ),
        lambda: (keras.Input((12, 4)), layers.Masking()),
    ],
)
def test_layer_that_reads_a_mask_is_named(first, reader):
    odd = reader(name="odd")
    model = keras.Sequential([*first(), odd, layers.Dense(3)])
    message = r"^Layer odd .* reads a mask of time steps.* leave out mask_zero"
    with pytest.raises(ValueError, match=message):
        quantize(model)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (lambda x: ops.sin(x), "sin"),
        (lambda x: 1.0 / (x + 1.0), "true_divide"),
        (lambda x: x + np.arange(4.0), "add"),
        (lambda x: layers.Dense(3)(x) / x[..., :3], "true_divide"),
        (lambda x: ops.maximum(x, np.array([0.0, 1, 2, 3])), "maximum"),
    ],
)
def test_operation_without_a_rule_is_named(body, name):
    with pytest.raises(ValueError, match=rf"^Layer {name}.* cannot be quant"):
        quantize(image_model(body))


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.LayerNormalization(name="odd"),
        lambda: layers.GroupNormalization(2, name="odd"),
    ],
)
def test_what_positions_of_different_sizes_need_is_said(make):
    model = image_model(make())
    with pytest.raises(
        ValueError, match=r"odd .*variances of positions.*skip="
    ):
        quantize(model)


def test_masked_steps_are_refused_by_name():
    def body(x):
        x = layers.Masking()(layers.Reshape((64, 4))(x))
        return layers.TimeDistributed(layers.Dense(3), name="odd")(x)

    with pytest.raises(
        ValueError, match=r"^Layer (odd|masking).* cannot be qu"
    ):
        quantize(image_model(body))


def test_integers_and_quantized_models_are_refused():
    inputs = keras.Input((8, 8, 3), dtype="uint8", name="image")
    model = keras.Model(inputs, layers.Rescaling(1 / 255, name="odd")(inputs))
    with pytest.raises(ValueError, match=r"^Layer odd .*dtype='float32'"):
        quantize(model)
    q = quantize(image_model(lambda x: layers.Dense(2)(x)))
    with pytest.raises(ValueError, match="quantization-aware already"):
        quantize(q)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no batch"),
        ([np.ones((2, 5))], r"must be batches of \(batch, 3\)"),
        ([np.ones((0, 3))], "hold no batch"),
        ([np.full((2, 3), np.nan)], "NaN or infinite"),
        ([np.full((2, 3), np.inf, "float16")], "Calibration .* or infinite"),
        ([np.full((2, 3), -np.inf, "float16")], "Calibration .* or infinite"),
        ([np.full((2, 3), 1e31)], "values beyond"),
        ([np.full((2, 3), 1e300)], "values beyond"),
    ],
)
def test_wrong_calibration_data_are_refused(data, message):
    model = image_model(lambda x: layers.Dense(2)(x), (3,))
    with pytest.raises(ValueError, match=message):
        quantize(model, data)


@pytest.mark.parametrize(
    "kind", ["float16", "uint8", "bool", ml_dtypes.bfloat16]
)
def test_finite_numbers_of_any_type_calibrate_in_silence(kind):
    model = image_model(lambda x: layers.Dense(2)(x), (3,))
    largest = 65504 if kind == "float16" else 1
    quantize(model, np.full((4, 3), largest).astype(kind))


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "tensors"},
        {"kind": "fixed"},
        {"kind": "fixed", "minimum": 1.0, "maximum": 2.0},
    ],
)
def test_wrong_argument_is_named(arguments):
    with pytest.raises(ValueError, match=r"Argument.*Received"):
        FakeQuantize(**arguments)


def test_input_that_is_an_output_is_named():
    inputs = keras.Input((4,), name="measured")
    model = keras.Model(inputs, [layers.Dense(2)(inputs), inputs])
    with pytest.raises(ValueError, match=r"^Input 'measured' .*an output as"):
        quantize(model)


@pytest.mark.parametrize("name", ["my in-put", "größe", "x:0"])
def test_input_whose_name_tensorflow_does_not_take_is_named(name):
    model = keras.Sequential([keras.Input((4,), name=name), layers.Dense(2)])
    with pytest.raises(ValueError, match=f"^Input '{name}' of model .* by let"):
        quantize(model)
