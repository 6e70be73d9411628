"""Layers that crop and resize images, against what Keras makes of them."""

import keras
import numpy as np
import pytest
from contracts import as_numpy, image_model
from keras import layers

from kbp import export, graph
from kbp.quantization import quantize_aware
from kbp.quantization.lowering.lower import lower

SIZES = ((8, 8), (9, 12), (13, 6), (5, 20))
CHANGES = {
    "smaller": lambda size: layers.Resizing(6, 4),
    "larger": lambda size: layers.Resizing(16, 17),
    "nearest": lambda size: layers.Resizing(10, 5, interpolation="nearest"),
    "as they are": lambda size: layers.Resizing(*size),
    "cut to shape": lambda size: layers.Resizing(
        7, 9, crop_to_aspect_ratio=True
    ),
    "filled to shape": lambda size: layers.Resizing(
        7, 9, pad_to_aspect_ratio=True
    ),
    "middle": lambda size: layers.CenterCrop(5, 4),
    "middle of what is small": lambda size: layers.CenterCrop(10, 14),
    "crop of all": lambda size: layers.RandomCrop(*size),
}
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CHANGES)
def test_lowered_layers_give_what_keras_gives(name, size):
    model = image_model(CHANGES[name](size), (*size, 3))
    x = RANDOM.normal(size=(2, *size, 3)).astype("float32")
    lowered = lower(graph.flatten(model))
    expected = as_numpy(model(x, training=False))
    assert expected.shape[1:] == lowered.output_shape[1:]
    np.testing.assert_allclose(as_numpy(lowered(x)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("cut to shape", (5, 20)),
        ("middle", (9, 12)),
        *(
            pytest.param(name, size, marks=pytest.mark.slow)
            for name in CHANGES
            for size in SIZES
        ),
    ],
)
def test_resized_features_are_exported_in_integers(name, size, tmp_path):
    def body(x):
        return CHANGES[name](size)(layers.Conv2D(3, 1)(x))

    keras.utils.set_random_seed(0)
    model = image_model(body, (*size, 3))
    x = RANDOM.normal(size=(16, *size, 3)).astype("float32")
    quantized = quantize_aware(model, x)
    path = tmp_path / "model.tflite"
    assert not export.to_tflite(quantized, path).float_operations
    for reference in (False, True):
        check = export.verify(
            quantized, path, x, reference=reference, original=model
        )
        assert check.within_one >= 0.99
        assert check.from_original < 0.05


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.RandomCrop(4, 4), r"whole image.* use CenterCrop"),
        (
            lambda: layers.Resizing(4, 4, antialias=True),
            "use antialias=False",
        ),
        (
            lambda: layers.Resizing(4, 4, interpolation="bicubic"),
            "interpolation='nearest' or",
        ),
        (
            lambda: layers.Resizing(
                4, 6, pad_to_aspect_ratio=True, fill_value=3
            ),
            "use fill_value=0",
        ),
        (
            lambda: layers.CenterCrop(4, 4, data_format="channels_first"),
            "channels_last",
        ),
    ],
)
def test_what_has_no_integer_kernel_is_named(make, message):
    layer = make()
    with pytest.raises(ValueError, match=rf"^Layer {layer.name} .*{message}"):
        quantize_aware(image_model(layer))


def test_open_sizes_are_named_where_they_must_be_known():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layers.CenterCrop(4, 4, name="odd")(inputs))
    with pytest.raises(ValueError, match=r"Layer odd .*fixed height and width"):
        quantize_aware(model)
    model = keras.Model(inputs, layers.Resizing(4, 4)(inputs))
    quantize_aware(model)
