"""A layer of a person's own, from one file that lies outside of kbp."""

import importlib.util
import json
import zipfile

import keras
import numpy as np
import pytest
from contracts import as_numpy

from kbp import export, quantization, sparsity
from kbp.errors import UserError
from kbp.inference import loading, safe

CODE = '''
"""A Dense layer with words of its own."""

import keras

from kbp.graph import LayerTraits, register_layer_traits


@keras.saving.register_keras_serializable(package="{package}")
@register_layer_traits(
    LayerTraits(
        kernel="table",
        size_argument="width",
        kernel_quantizer="kernel",
        prunable=("element", "channel"),
        rounding="computed",
        fuses_relu=True,
        equalizable=True,
        channels="kernel",
        safe=True,
    )
)
class Mixture(keras.layers.Layer):
    """Mix the features that are given, `factor` times as strong at first."""

    def __init__(self, width, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.width, self.factor = width, factor

    def build(self, input_shape):
        scale = keras.initializers.VarianceScaling(self.factor)
        shape = (input_shape[-1], self.width)
        self.table = self.add_weight(shape=shape, initializer=scale)
        self.bias = self.add_weight(shape=(self.width,), initializer="zeros")

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.table) + self.bias

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.width)

    def get_config(self):
        config = {{"width": self.width, "factor": self.factor}}
        return {{**super().get_config(), **config}}
'''


def imported(folder, package, code=CODE):
    """Write a module into a folder, import it and return its layer."""
    file = folder / f"{package}.py"
    file.write_text(code.format(package=package))
    spec = importlib.util.spec_from_file_location(package, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Mixture


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return imported(tmp_path_factory.mktemp("plugin"), "mine")


@pytest.fixture(scope="module")
def unknown(tmp_path_factory):
    start, end = CODE.index("@register"), CODE.index("class Mixture")
    code = CODE[:start] + CODE[end:]
    return imported(tmp_path_factory.mktemp("plugin"), "other", code)


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(64, 12)).astype("float32")


def network(layer):
    inputs = keras.Input((12,))
    x = keras.layers.ReLU()(layer(16, factor=2.0, name="first")(inputs))
    x = keras.layers.ReLU()(layer(16, name="second")(x))
    return keras.Model(inputs, layer(4, name="last")(x))


def half_masked(model):
    """Mask the smaller half of what each mask of a model decides about."""
    for layer in sparsity.masked_layers(model):
        median = np.median(np.abs(as_numpy(layer.kernel)))
        layer.transforms[0].threshold.assign(median)
    return model


def test_weights_are_pruned(known, images):
    pruned = half_masked(sparsity.apply_dtm(network(known)))
    assert [x.name for x in sparsity.masked_layers(pruned)] == ["second"]
    plain = sparsity.strip(pruned)
    table = as_numpy(plain.get_layer("second").table)
    assert (table == 0).mean() == 0.5
    np.testing.assert_array_equal(
        as_numpy(plain(images)), as_numpy(pruned(images))
    )


def test_channels_are_pruned_and_leave(known, images):
    model = network(known)
    pruned = sparsity.apply_dtm(
        model, granularity="channel", protect_ends=False
    )
    np.testing.assert_allclose(
        as_numpy(pruned(images)), as_numpy(model(images)), atol=1e-5
    )
    gates = [x.name for x in sparsity.masked_layers(half_masked(pruned))]
    assert gates == ["first_gate", "second_gate"]
    small = sparsity.shrink(pruned)
    assert [small.get_layer(x).width for x in ("first", "second", "last")] == [
        *(8, 8, 4)
    ]
    np.testing.assert_allclose(
        as_numpy(small(images)), as_numpy(pruned(images)), atol=1e-5
    )
    costs = [row.multiply_adds for row in sparsity.summary(pruned)]
    assert costs == [12 * 16, 16 * 16]


def test_runs_in_eight_bits(known, images, tmp_path):
    quantized = quantization.quantize_aware(network(known), [images])
    path = tmp_path / "model.tflite"
    audit = export.to_tflite(quantized, path)
    assert {x.name for x in audit.operations} == {"FULLY_CONNECTED"}
    check = export.verify(quantized, path, [images])
    assert check.unit == "LSB"
    assert check.maximum <= 1


def test_loads_from_a_file(known, images, tmp_path):
    model, path = network(known), tmp_path / "model.keras"
    model.save(path)
    for entry in (False, True):
        safe.check_keras_file(path, entry=entry)
    loaded = loading.load_keras(path)
    np.testing.assert_array_equal(
        as_numpy(loaded(images)), as_numpy(model(images))
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"class_name": "__lambda__"},
        {"class_name": "Popen", "module": "subprocess"},
        {"registered_name": "mine>Other"},
        {"registered_name": "other>Mixture"},
    ],
)
def test_file_cannot_pretend_to_be_of_a_known_layer(known, tmp_path, wrong):
    path, spoilt = tmp_path / "model.keras", tmp_path / "spoilt.keras"
    network(known).save(path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(spoilt, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"][1] |= wrong
                content = json.dumps(config)
            new.writestr(name, content)
    for entry in (False, True):
        with pytest.raises(UserError, match="not known to be safe"):
            safe.check_keras_file(spoilt, entry=entry)


@pytest.mark.parametrize("granularity", ["element", "channel"])
def test_without_traits_masks_are_refused(unknown, granularity):
    message = r"Register the traits of layer first, last, second.*graph\.regis"
    with pytest.raises(ValueError, match=message):
        sparsity.apply_dtm(network(unknown), granularity=granularity)


def test_without_traits_the_rest_is_refused(unknown, images, tmp_path):
    inputs = keras.Input((12,))
    hidden = keras.layers.Dense(16, name="hidden")(inputs)
    model = keras.Model(inputs, unknown(4, name="odd")(hidden))
    dense = model.get_layer("hidden")
    kernel = as_numpy(dense.kernel) * (np.arange(16) < 8)
    dense.set_weights([kernel, np.zeros(16)])
    message = r"Layer odd cannot be shrunk.*register_layer_traits"
    with pytest.raises(ValueError, match=message):
        sparsity.shrink(model)
    message = r"Layer odd .* cannot be quantized.*register_layer_traits"
    with pytest.raises(ValueError, match=message):
        quantization.quantize_aware(model, [images])
    path = tmp_path / "model.keras"
    model.save(path)
    message = r"asks for other\.Mixture.*register_layer_traits"
    for check in (safe.check_keras_file, loading.load_keras):
        with pytest.raises(UserError, match=message):
            check(path)
