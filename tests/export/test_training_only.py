"""What changes inputs in training alone is not in exported files."""

import inspect

import keras
import numpy as np
import pytest
from keras import layers

from kbp import export, sparsity
from kbp.graph import traits_of_class
from kbp.quantization import quantize_aware

KIND = layers.RandomFlip.__base__  # of all that changes images
CHANGING = {
    kind.__name__: kind
    for kind in vars(layers).values()
    if inspect.isclass(kind) and issubclass(kind, KIND)
}
# These change images at inference, too.
PREPARATIONS = ("AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization")
SIZED = ("CenterCrop", "RandomCrop", "Resizing")
DROPOUTS = (
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout2D",
)
IMAGES = np.random.default_rng(0).random((4, 12, 12, 3), "float32")
UNUSUAL = {"RandomPosterization": {"factor": 4}}


def make(name):
    kind = getattr(layers, name)
    if name in SIZED:
        return kind(height=12, width=12)
    if name == "MaxNumBoundingBoxes":
        return kind(max_number=3)
    given = inspect.signature(kind.__init__).parameters
    required = {
        key: 0.3
        for key, parameter in given.items()
        if parameter.default is inspect.Parameter.empty
        and key not in ("self", "args", "kwargs")
    }
    if "value_range" in given:
        required["value_range"] = (0, 1)
    return kind(**{**required, **UNUSUAL.get(name, {})})


def network(*first, head=None):
    """Return a small network, whose other layers may be those of another."""
    x = inputs = keras.Input((12, 12, 3))
    rest = head or [
        layers.Conv2D(4, 3, activation="relu"),
        layers.Conv2D(8, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2),
    ]
    for layer in (*first, *rest):
        x = layer(x)
    return keras.Model(inputs, x)


def outputs_of_files(model, folder):
    """Return what the int8 and the float32 file of a model give."""
    files = folder / "int8.tflite", folder / "float32.tflite"
    quantized = quantize_aware(model, [IMAGES])
    assert not export.to_tflite(quantized, files[0]).float_operations
    export.to_tflite(model, files[1])
    return [export.Runner(file).predict(IMAGES) for file in files]


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    model = network()
    folder = tmp_path_factory.mktemp("without")
    return model, outputs_of_files(model, folder)


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [*sorted({*CHANGING}.difference(PREPARATIONS)), *DROPOUTS]
)
def test_files_are_those_of_the_network_without_it(name, without, tmp_path):
    kind = getattr(layers, name)
    # What gives images another size does nothing where they have it.
    assert traits_of_class(kind).training_only or name in SIZED
    other, expected = without
    model = network(make(name), head=other.layers[1:])
    np.testing.assert_array_equal(model(IMAGES, training=False), other(IMAGES))
    found = outputs_of_files(model, tmp_path)
    np.testing.assert_array_equal(found, expected)


def test_drift_is_from_the_model_at_inference(tmp_path):
    model = network(make("RandomContrast"))
    quantized = quantize_aware(model, [IMAGES])
    path = tmp_path / "q.tflite"
    export.to_tflite(quantized, path)
    found = [
        export.verify(quantized, path, IMAGES, original=model).from_original
        for _ in range(2)
    ]
    deviation = np.asarray(model(IMAGES, training=False)).std()
    files = export.Runner(path).predict(IMAGES)
    gap = files - np.asarray(model(IMAGES, training=False))
    assert found[0] == found[1]
    assert found[0] > 0
    assert np.sqrt(np.mean(gap**2)) < 3 * found[0] * deviation


@pytest.mark.long
@pytest.mark.parametrize("name", ["RandomRotation", "MixUp", "RandomHue"])
def test_training_goes_on_with_it(name):
    model = quantize_aware(network(make(name)), [IMAGES])
    (layer,) = (x for x in model.layers if isinstance(x, CHANGING[name]))
    trained = layer(IMAGES, training=True)
    assert np.abs(np.asarray(trained) - IMAGES).max() > 0
    model.compile("sgd", "mse")
    model.fit(IMAGES, np.zeros((4, 2)), verbose=0)


@pytest.mark.parametrize("name", ["RandomRotation", "MixUp"])
def test_channels_behind_it_are_pruned(name):
    masked = sparsity.apply_dtm(network(make(name)), granularity="channel")
    small = sparsity.shrink(masked)
    assert small.input_shape == (None, 12, 12, 3)


@pytest.mark.parametrize("name", PREPARATIONS)
def test_what_changes_images_at_inference_is_refused(name):
    with pytest.raises(ValueError, match="images before they enter the model"):
        quantize_aware(network(make(name)), [IMAGES])
