"""What the user decides: layers in float, and layers of one's own."""

import keras
import numpy as np
import pytest
from contracts import as_numpy, image_model
from keras import layers, ops

import kbp
from kbp import export
from kbp.quantization import (
    ATTENTION_OPS,
    FakeQuantize,
    QuantizeConfig,
    fake_quantizers,
)
from kbp.quantization import quantize_aware as quantize

conv = layers.Conv2D


def test_skipped_layers_stay_in_float_and_are_allowed(tmp_path):
    def body(x):
        x = layers.LayerNormalization(name="norm")(layers.Dense(16)(x))
        return layers.Dense(4, activation="elu", name="head")(x)

    x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    model = image_model(body, (6,))
    q = quantize(model, [x], skip=[layers.LayerNormalization, "head"])
    q.save(tmp_path / "q.keras")
    q = keras.saving.load_model(tmp_path / "q.keras")
    audit = export.to_tflite(q, tmp_path / "q.tflite")
    floats = {op.layer for op in audit.float_operations}
    assert {"norm", "head"} <= floats
    integers = [op.name for op in audit.operations if not op.is_float]
    assert sorted(integers) == ["FULLY_CONNECTED", "SLICE"]
    assert export.verify(q, tmp_path / "q.tflite", [x]).within_one >= 0.999


@pytest.mark.long
@pytest.mark.parametrize(
    "make",
    [
        lambda name: layers.Dense(3, name=name),
        lambda name: layers.Conv2D(3, 3, activation="relu", name=name),
        lambda name: layers.DepthwiseConv2D(3, name=name),
        lambda name: layers.GlobalAveragePooling2D(name=name),
        lambda name: layers.Softmax(name=name),
        lambda name: layers.BatchNormalization(name=name),
    ],
)
def test_skipped_layer_is_computed_in_float(make, tmp_path):
    def body(x):
        return layers.Dense(3)(make("odd")(conv(4, 3)(x)))

    x = np.random.default_rng(0).normal(size=(16, 8, 8, 4)).astype("float32")
    q = quantize(image_model(body), [x], skip=["odd"])
    audit = export.to_tflite(q, tmp_path / "q.tflite")
    assert "odd" in {op.layer for op in audit.float_operations}
    assert export.verify(q, tmp_path / "q.tflite", [x]).within_one >= 0.999


@pytest.mark.long
@pytest.mark.parametrize(
    "kind", [layers.ReLU, layers.BatchNormalization, layers.Concatenate]
)
def test_what_stands_before_a_skipped_layer_is_rounded(kind, tmp_path):
    """What LiteRT would compute with it stays in integers."""

    def body(x):
        x = layers.BatchNormalization()(conv(4, 3, padding="same")(x))
        y = layers.ReLU()(x)
        return conv(3, 1)(layers.Concatenate()([conv(4, 1)(y), y]))

    x = np.random.default_rng(0).normal(size=(16, 8, 8, 4)).astype("float32")
    q = quantize(image_model(body), [x], skip=[kind])
    audit = export.to_tflite(q, tmp_path / "q.tflite")
    convolutions = [op for op in audit.operations if op.name == "CONV_2D"]
    assert len(convolutions) == 3
    assert not any(op.is_float for op in convolutions)
    # From float, the converter rounds once where the model rounds twice.
    assert export.verify(q, tmp_path / "q.tflite", [x]).within_one >= 0.99


@keras.saving.register_keras_serializable(package="kbp_tests")
class Gated(layers.Layer):
    def call(self, inputs):
        x, gate = inputs
        return x * keras.ops.sigmoid(gate)

    def compute_output_shape(self, input_shape):
        return input_shape[0]


@pytest.mark.parametrize(
    ("kind", "inside"),
    [(layers.Attention, "BATCH_MATMUL"), (Gated, "LOGISTIC")],
)
def test_all_of_a_skipped_layer_is_float(kind, inside, tmp_path):
    """Also what within it reads its second input alone."""

    def body(x):
        x = kind(name="odd")([layers.Dense(8)(x), layers.Dense(8)(x)])
        return layers.Dense(3)(x)

    x = np.random.default_rng(0).normal(size=(16, 6, 8)).astype("float32")
    q = quantize(image_model(body, (6, 8)), [x], skip=[kind])
    audit = export.to_tflite(q, tmp_path / "q.tflite")
    found = [op for op in audit.operations if op.name == inside]
    assert found
    assert all(op.is_float for op in found)
    assert export.verify(q, tmp_path / "q.tflite", [x]).within_one >= 0.999


def test_skipped_operations_stay_in_float(tmp_path):
    def body(x):
        a, b = layers.Dense(6)(x), layers.Dense(8)(x)
        return layers.Dense(3)(keras.ops.matmul(keras.ops.softmax(a), b))

    x = np.random.default_rng(0).normal(size=(16, 6, 8)).astype("float32")
    skip = [keras.ops.softmax, keras.ops.matmul]
    q = quantize(image_model(body, (6, 8)), [x], skip=skip)
    audit = export.to_tflite(q, tmp_path / "q.tflite")
    floats = [op.name for op in audit.float_operations]
    assert {"SOFTMAX", "BATCH_MATMUL"} <= {*floats}


def test_products_of_an_attention_stay_in_float(tmp_path):
    x = np.random.default_rng(0).normal(size=(16, 6, 8)).astype("float32")
    for attend in (
        lambda x: kbp.layers.SelfAttention(2)(x),
        lambda x: layers.MultiHeadAttention(2, 4, dropout=0.1)(x, x),
    ):
        model = image_model(attend, (6, 8))
        q = quantize(model, [x], skip=ATTENTION_OPS)
        audit = export.to_tflite(q, tmp_path / "q.tflite")
        floats = [op.name for op in audit.float_operations]
        assert floats.count("BATCH_MATMUL") == 2
        assert floats.count("SOFTMAX") == 1
        # Nothing is rounded between the three: one way back.
        assert floats.count("QUANTIZE") == 1
        assert "FULLY_CONNECTED" not in floats
        check = export.verify(q, tmp_path / "q.tflite", [x])
        assert check.within_one >= 0.999


def test_float_layer_that_was_not_skipped_is_named(tmp_path):
    x = np.ones((4, 6), "float32")
    q = quantize(image_model(lambda x: layers.Dense(4)(x), (6,)), [x])
    odd = keras.Model(q.input, layers.Dense(2, name="odd")(q.output))
    with pytest.raises(ValueError, match="FULLY_CONNECTED at odd"):
        export.to_tflite(odd, tmp_path / "q.tflite")
    assert not list(tmp_path.iterdir())
    allowed = export.to_tflite(odd, tmp_path / "q.tflite", allow_float=["odd"])
    assert {op.layer for op in allowed.float_operations} >= {"odd"}


@keras.saving.register_keras_serializable(package="test")
class Bilinear(layers.Layer):
    """A layer of a user's own, with two kernels."""

    def build(self, shape):
        self.left = self.add_weight(shape=(shape[-1], 3))
        self.right = self.add_weight(shape=(3, 2))

    def call(self, inputs):
        return ops.relu(ops.matmul(ops.matmul(inputs, self.left), self.right))


class RoundRight(QuantizeConfig):
    def get_weights_and_quantizers(self, layer):
        return [
            (layer.left, FakeQuantize("channel")),
            (layer.right, FakeQuantize("kernel")),
        ]


def test_layer_of_ones_own_is_rounded_as_its_config_says(tmp_path):
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    model = image_model(lambda x: Bilinear(name="own")(x), (6,))
    with pytest.raises(ValueError, match=r"own.*QuantizeConfig"):
        quantize(model)
    for key in ("own", Bilinear):
        q = quantize(model, [x], configs={key: RoundRight()})
        kinds = sorted(f.kind for f in fake_quantizers(q))
        assert kinds == ["channel", "input", "kernel", "tensor"]
    expected = as_numpy(model(x))
    gap = np.abs(as_numpy(q(x)) - expected).max()
    assert 0 < gap < 0.03 * np.ptp(expected)
    q.compile(keras.optimizers.SGD(0.01), "mse")
    q.fit(x, np.ones((8, 2)), verbose=0)
    q.save(tmp_path / "q.keras")
    loaded = keras.saving.load_model(tmp_path / "q.keras")
    np.testing.assert_array_equal(as_numpy(loaded(x)), as_numpy(q(x)))


@pytest.mark.parametrize(
    "names", [["bias"], ["bias", "kernel"], ["kernel", "bias"]]
)
def test_masks_stay_at_their_kernel_whatever_a_config_rounds(names):
    class Rounds(QuantizeConfig):
        def get_weights_and_quantizers(self, layer):
            return [(getattr(layer, x), FakeQuantize("kernel")) for x in names]

    x = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
    dense = [layers.Dense(8, name=name) for name in ("one", "two")]
    model = keras.Sequential([keras.Input((8,), name="x"), *dense])
    model.layers[0].bias.assign(np.arange(8) / 8)
    model = kbp.sparsity.apply_dtm(model, protect_ends=False)
    for layer in kbp.sparsity.masked_layers(model):
        layer.transforms[0].threshold.assign(0.3)
    q = quantize(model, x, configs={"one": Rounds()}, equalize=False)
    expected = as_numpy(model(x))
    gap = np.abs(as_numpy(q(x)) - expected).max()
    assert gap < 0.03 * np.ptp(expected)
    (masks,) = {
        x.kernel_attribute: kbp.sparsity.hard_mask(x)
        for x in kbp.sparsity.masked_layers(q)
        if x.name == "one"
    }.items()
    assert masks[0] == "kernel"
    assert 0.1 < masks[1].mean() < 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"skip": ["dens"]}, r"`skip` names no layer.*'dens'.*'dense'"),
        ({"skip": "dense"}, r"`skip` must be a list"),
        ({"skip": [len]}, r"functions of keras\.ops.*len"),
        ({"skip": layers.Dense}, r"`skip` must be a list"),
        ({"skip": ["drop"]}, r"drop in `skip` keeps the range"),
        ({"configs": {"dense": QuantizeConfig}}, r"objects of QuantizeConfig"),
        (
            {"configs": {"dens": QuantizeConfig()}},
            r"`configs` names no layer.*'dens'.*'dense'",
        ),
    ],
)
def test_wrong_choice_of_layers_is_named(arguments, message):
    model = image_model(
        lambda x: layers.Dropout(0.5, name="drop")(
            layers.Dense(2, name="dense")(x)
        ),
        (3,),
    )
    with pytest.raises(ValueError, match=message):
        quantize(model, **arguments)


@pytest.mark.long
@pytest.mark.parametrize(
    "make",
    [
        lambda **options: layers.LSTM(8, unroll=True, **options),
        lambda **options: layers.GRU(8, unroll=True, **options),
        lambda **options: Gated(**options),
    ],
    ids=["LSTM", "GRU", "gated"],
)
def test_last_operation_of_a_skipped_layer_stays_in_float(make, tmp_path):
    """LiteRT's converter knows the ranges of a sigmoid and of a tanh."""
    inputs = keras.Input((6, 4))
    outputs = layers.Dense(3)(make(name="odd")(inputs))
    model = keras.Model(inputs, outputs)
    x = np.random.default_rng(0).normal(size=(64, 6, 4)).astype("float32")
    q = quantize(model, x, skip=["odd"])
    audit = export.to_tflite(q, tmp_path / "q.tflite", verify_with=x)
    products = [o for o in audit.operations if o.name == "MUL"]
    assert products
    assert all(operation.is_float for operation in products)


@keras.saving.register_keras_serializable(package="test")
class Gated(layers.Layer):
    def call(self, inputs):
        return ops.tanh(inputs) * ops.sigmoid(inputs)
