"""Models that leave sizes open, whose files have one."""

import keras
import numpy as np
import pytest
from keras import layers

from kbp import export
from kbp.__main__ import main
from kbp.quantization import quantize_aware

RANDOM = np.random.default_rng(0)


def segmenting():
    inputs = keras.Input((None, None, 3), name="image")
    fine = layers.Conv2D(6, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(6, 3, padding="same")(layers.MaxPooling2D()(fine))
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Concatenate()([layers.UpSampling2D()(x), fine])
    return keras.Model(inputs, layers.Conv2D(2, 1)(x))


def series():
    inputs = keras.Input((None, 3), name="steps")
    x = layers.Conv1D(6, 3, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, layers.GlobalAveragePooling1D()(x))


def two():
    images = keras.Input((None, 8, 3), name="image")
    numbers = keras.Input((4,), name="numbers")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(images))
    return keras.Model([images, numbers], layers.Concatenate()([x, numbers]))


@pytest.mark.long
@pytest.mark.parametrize(
    ("make", "shape"), [(segmenting, (8, 12, 3)), (series, (6, 3))]
)
def test_file_has_the_size_it_is_given(make, shape, tmp_path):
    x = RANDOM.normal(size=(16, *shape)).astype("float32")
    path = tmp_path / "model.tflite"
    model = make()
    for computed in (model, quantize_aware(model, x)):
        export.to_tflite(computed, path, input_shape=shape, verify_with=x)
        assert list(export.Runner(path).shapes.values()) == [shape]
        assert export.verify(computed, path, x).within_one >= 0.99
    other = np.concatenate([x, x], axis=1)
    with pytest.raises(ValueError, match=r"must be batches of \(batch, "):
        export.verify(computed, path, other)


def test_of_several_inputs_sizes_are_given_by_name(tmp_path):
    path = tmp_path / "model.tflite"
    export.to_tflite(two(), path, input_shape={"image": [6, 8, 3]})
    shapes = export.Runner(path).shapes
    assert shapes == {"image": (6, 8, 3), "numbers": (4,)}


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (segmenting, None, r"image .* no fixed size.* input_shape=\(64, 64, 3"),
        (segmenting, (8, 8), r"`input_shape` must fit input image.*\(8, 8\)"),
        (segmenting, (8, 8, 1), r"must fit input image.*\(8, 8, 1\)"),
        (segmenting, (0, 8, 3), r"must fit input image.*\(0, 8, 3\)"),
        (segmenting, 8, "must fit input image.* Received: 8"),
        (segmenting, {"images": (8, 8, 3)}, "names 'images', which is no inp"),
        (two, (8, 8, 3), "must be a dictionary by these names"),
        (two, {"numbers": (4,)}, "Input image .* has no fixed size"),
    ],
)
def test_sizes_that_do_not_fit_are_named(make, shape, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export.to_tflite(make(), tmp_path / "m.tflite", input_shape=shape)
    assert not list(tmp_path.iterdir())


def test_command_takes_sizes(tmp_path):
    files = {"one": segmenting(), "two": two()}
    for name, model in files.items():
        model.save(tmp_path / f"{name}.keras")
    one, other, out = (
        str(tmp_path / name) for name in ("one.keras", "two.keras", "o.tflite")
    )
    assert main(["export", one, out, "--input-shape", "8,12,3"]) in (0, None)
    assert export.Runner(out).shapes == {"image": (8, 12, 3)}
    second = str(tmp_path / "second.tflite")
    shapes = ["image=6,8,3", "numbers=4"]
    assert main(["export", other, second, "--input-shape", *shapes]) in (
        0,
        None,
    )
    assert export.Runner(second).shapes["image"] == (6, 8, 3)
