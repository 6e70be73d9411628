"""Networks of Keras Applications under a new head."""

import keras
import numpy as np
import pytest

from kbp import export
from kbp.errors import UserError
from kbp.inference.loading import load_keras
from kbp.models.applications import application
from kbp.models.registry import BACKBONE, MODELS
from kbp.quantization import quantize_aware
from kbp.recipes import Recipe

RNG = np.random.default_rng(0)
IMAGES = RNG.random((2, 32, 32, 3), "float32")
# One that wants [-1, 1], one that swaps channels, one that rescales itself.
SMALL = ("MobileNetV2", "ResNet50", "EfficientNetB0")


def build(name, shape=(32, 32, 3), **options):
    return application(name)(shape, 3, **options)


def own(name, **options):
    """Return the network as Keras builds it, and its preprocessing."""
    maker = getattr(keras.applications, name)
    module = maker.__module__.rpartition(".")[2]
    network = maker(
        weights=None, include_top=False, input_shape=(32, 32, 3), **options
    )
    return network, getattr(keras.applications, module).preprocess_input


def randomize(network):
    """Give each weight a value, so that no two of them are alike."""
    weights = [
        np.abs(RNG.normal(1, 0.2, w.shape)) if w.ndim < 2 else w
        for w in network.get_weights()
    ]
    network.set_weights(weights)


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        *SMALL[:2],
        # Its own scale is held by a test of its own.
        pytest.param(SMALL[2], marks=pytest.mark.slow),
    ],
)
def test_images_in_0_to_1_give_what_the_network_gives_of_its_own(
    name, tmp_path
):
    network, preprocess = own(name)
    randomize(network)
    file = tmp_path / "own.weights.h5"
    network.save_weights(file)
    expected = network(preprocess(IMAGES * 255))
    model = build(name, weights=str(file))
    maps = keras.Model(model.input, model.get_layer("pool").input)
    found = np.asarray(maps(IMAGES))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=2e-4 * scale)


@pytest.mark.parametrize(
    "name",
    [n for n, x in vars(keras.applications).items() if callable(x)],
)
def test_preprocessing_of_every_network_is_one_factor_and_offset(name):
    """What swaps channels gives the same sums of a grey image."""
    from kbp.models import applications

    maker = getattr(keras.applications, name)
    module = getattr(keras.applications, maker.__module__.rpartition(".")[2])
    first = keras.layers.Conv2D(1, 1)
    first.build((None, None, None, 3))
    first.set_weights([np.arange(1, 4).reshape(1, 1, 3, 1), np.zeros(1)])
    inputs = keras.Input((4, 4, 3))
    backbone = keras.Model(inputs, first(inputs))
    images = RNG.random((2, 4, 4, 3), "float32")
    expected = backbone(module.preprocess_input(images * 255))
    layer = applications._preprocessing(maker, backbone)
    np.testing.assert_allclose(
        backbone(layer(images)), expected, rtol=1e-4, atol=1e-3
    )


@pytest.mark.long
def test_files_of_imagenets_efficientnet_have_its_own_scale(tmp_path):
    network, _ = own("EfficientNetB0")
    (norm,) = (
        x for x in network.layers if isinstance(x, keras.layers.Normalization)
    )
    deviation = np.array([0.229, 0.224, 0.225])
    norm.set_weights(
        [np.array([0.485, 0.456, 0.406]), deviation**2, np.array(0)]
    )
    file = tmp_path / "own.weights.h5"
    network.save_weights(file)
    loaded = build("EfficientNetB0", weights=str(file)).get_layer(BACKBONE)
    (found,) = (
        x for x in loaded.layers if isinstance(x, keras.layers.Normalization)
    )
    x = RNG.random((1, 4, 4, 3), "float32")
    # The formula of Keras's own network with weights="imagenet".
    expected = (x - [0.485, 0.456, 0.406]) / deviation / np.sqrt(deviation)
    np.testing.assert_allclose(found(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.long
def test_kinds_of_files_of_weights(tmp_path):
    network, _ = own("MobileNetV2", alpha=0.35)
    network.save_weights(tmp_path / "a.weights.h5")
    network.save(tmp_path / "b.keras")
    keras.saving.save_model(network, tmp_path / "c.h5")
    for file in sorted(tmp_path.iterdir()):
        model = build("MobileNetV2", alpha=0.35, weights=str(file))
        pairs = zip(
            model.get_layer(BACKBONE).get_weights(),
            network.get_weights(),
            strict=True,
        )
        assert all(np.array_equal(a, b) for a, b in pairs)


def test_grey_images_are_taken_too():
    model = build("MobileNetV2", (32, 32, 1), alpha=0.35, pooling="max")
    colors = keras.Model(model.input, model.get_layer("preprocessing").output)
    grey = IMAGES[..., :1]
    np.testing.assert_allclose(
        colors(grey), 2 * np.repeat(grey, 3, axis=-1) - 1, atol=1e-6
    )
    assert model.output_shape == (None, 3)


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"weights": "imagenet"},
            "local file, .* downloads nothing.*'imagenet'",
        ),
        ({"weights": "none.weights.h5"}, "must be a local file"),
        (
            {"weights": "{tmp}/other.weights.h5"},
            "holds no weights of MobileNet",
        ),
        ({"weights": "{tmp}/damaged.keras"}, "holds no weights of MobileNet"),
        ({"pooling": "mean"}, "Argument `pooling` must be one of"),
        ({"dropout": 1.0}, "Argument `dropout` must be in"),
        ({"shape": (32, 32, 2)}, "Argument `input_shape` must be .* 1 or 3"),
        ({"shape": (16, 16, 3)}, "Input size must be at least 32x32"),
    ],
)
def test_what_does_not_fit_is_named(options, message, tmp_path):
    weights = options.get("weights", "").format(tmp=tmp_path)
    if "other" in weights:
        other, _ = own("MobileNetV2", alpha=0.5)
        other.save_weights(weights)
    elif "damaged" in weights:
        (tmp_path / "damaged.keras").write_bytes(b"no")
    if weights:
        options = {**options, "weights": weights}
    with pytest.raises(ValueError, match=message):
        build("MobileNetV2", alpha=0.35, **options)


def test_recipes_know_the_family():
    section = {"architecture": "keras.applications:MobileNetV2", "alpha": 0.35}
    recipe = Recipe.parse({"model": section})
    assert recipe.model.to_dict() == section
    assert recipe.model.argument("dropout", None) == 0.2
    assert recipe.model.build((32, 32, 1), 10).output_shape == (None, 10)
    assert "keras.applications:MobileNetV2" not in {*MODELS}
    for architecture, message in (
        ("keras.applications:MobileNetV9", "did you mean 'MobileNetV"),
        ("keras.application:VGG16", "did you mean 'keras.applications:NAME'"),
        ("torch:VGG16", "unknown 'torch:VGG16'"),
    ):
        with pytest.raises(UserError, match=message):
            Recipe.parse({"model": {"architecture": architecture}})
    for key, message in (
        ({"alpha": "wide"}, "model.alpha must be of type float"),
        ({"alfa": 1.0}, "unknown key model.alfa; did you mean 'alpha'"),
    ):
        with pytest.raises(UserError, match=message):
            Recipe.parse({"model": {**section, **key}})
    alpha = {"architecture": "keras.applications:VGG16", "alpha": 0.5}
    with pytest.raises(UserError, match=r"\[model\] .*not one of VGG16"):
        Recipe.parse({"model": alpha}).model.build((32, 32, 3), 2)


@pytest.mark.long
def test_files_are_loaded_in_safe_mode(tmp_path):
    model = build("MobileNetV2", alpha=0.35)
    model.save(tmp_path / "model.keras")
    again = load_keras(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(IMAGES), model(IMAGES))
    norms = [
        x
        for x in again.get_layer(BACKBONE).layers
        if isinstance(x, keras.layers.BatchNormalization)
    ]
    assert {norm.momentum for norm in norms} == {0.9}


NETWORKS = (
    *("DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "InceptionV3"),
    *("MobileNet", "MobileNetV2", "MobileNetV3Small", "NASNetMobile"),
    *("ResNet50", "ResNet50V2", "VGG16", "Xception"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_become_files_of_integers_alone(name, tmp_path):
    size = 80 if name in ("InceptionV3", "Xception") else 64
    model = build(name, (size, size, 3))
    images = RNG.random((4, size, size, 3), "float32")
    quantized = quantize_aware(model, [images])
    file = tmp_path / "int8.tflite"
    audit = export.to_tflite(quantized, file)
    assert not audit.float_operations
    assert export.verify(quantized, file, [images]).outputs == 12
