"""Files with weights in eight bits that compute in float."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from contracts import as_numpy
from keras import layers

from kbp import export, spiking
from kbp.export.parsing import items_of, parse

EPSILON = 1e-5  # of floats that are summed in another order


def rng():
    return np.random.default_rng(0)


def images():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(4, 2, strides=2, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(10)(layers.Flatten()(x)))


def spikes():
    keras.utils.set_random_seed(1)
    x = rng().normal(size=(16, 8, 8, 3)).astype("float32")
    return spiking.to_spiking(images(), x, timesteps=4)


def sequences():
    inputs = keras.Input((6, 5))
    return keras.Model(inputs, layers.Dense(3)(layers.LSTM(7)(inputs)))


def shared():
    inputs = keras.Input((6,))
    dense = layers.Dense(6)
    return keras.Model(inputs, layers.Dense(2)(dense(dense(inputs))))


MODELS = {f.__name__: f for f in (images, spikes, sequences, shared)}


def channels_of(layer):
    """Return the axis of a layer's outputs in its Keras kernel."""
    return {
        layers.DepthwiseConv2D: 2,
        layers.Conv2DTranspose: 2,
    }.get(type(layer), -1)


def round_by_hand(kernel, axis):
    """Round to 127 steps of each channel, in float64, from the formula."""
    others = tuple(i for i in range(kernel.ndim) if i != axis % kernel.ndim)
    scale = np.abs(kernel).max(axis=others, keepdims=True) / 127
    scale[scale == 0] = 1
    return np.clip(np.round(kernel / scale), -127, 127), scale


def rounded_twin(model):
    """Return a copy whose kernels have the rounded values."""
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    for layer in twin._flatten_layers():
        for name in ("kernel", "recurrent_kernel"):
            weight = getattr(layer, name, None)
            if weight is not None:
                values = as_numpy(weight).astype("float64")
                axis = channels_of(layer)
                steps, scale = round_by_hand(values, axis)
                weight.assign((steps * scale).astype("float32"))
    return twin


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_the_file_computes_what_the_rounded_model_does(name, tmp_path):
    model, path = MODELS[name](), tmp_path / "model.tflite"
    x = rng().normal(size=(8, *model.input_shape[1:])).astype("float32")
    audit = export.to_tflite(model, path, dtype="int8_weights")
    twin = rounded_twin(model)
    for reference in (False, True):
        checked = export.verify(twin, path, x, reference=reference)
        assert checked.maximum < EPSILON
    assert export.verify(model, path, x).maximum > 10 * EPSILON
    known = {*vars(schema.BuiltinOperator)} - {"CUSTOM"}
    assert {operation.name for operation in audit.operations} <= known
    allowed = ("INT8", "FLOAT32")
    for operation in audit.operations:
        if operation.name == "DEQUANTIZE":
            assert (*operation.inputs, *operation.outputs) == allowed
        else:
            assert "INT8" not in operation.inputs


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_all_kernels_are_eight_bits_and_a_quarter_as_large(name, tmp_path):
    model, path = MODELS[name](), tmp_path / "model.tflite"
    whole = export.to_tflite(model, tmp_path / "whole.tflite")
    audit = export.to_tflite(model, path, dtype="int8_weights")
    kernels = [w for w in model.weights if "kernel" in w.path]
    count = sum(int(np.prod(w.shape)) for w in kernels)
    tree = parse(path.read_bytes())
    found = [
        tensor
        for graph in tree.subgraphs
        for tensor in items_of(graph.tensors)
        if tensor.type == schema.TensorType.INT8
    ]
    assert sum(int(np.prod(tensor.shape)) for tensor in found) == count
    saved = 3 * count - 4 * sum(len(x.quantization.scale) for x in found)
    assert whole.size - audit.size > saved - 600 * len(found)
    for tensor in found:
        data = np.asarray(tree.buffers[tensor.buffer].data).view("int8")
        assert np.abs(data.astype(int)).max() == 127


def test_one_layer_is_within_half_a_step_of_each_weight(tmp_path):
    inputs = keras.Input((20,))
    model = keras.Model(inputs, layers.Dense(9)(inputs))
    path = tmp_path / "model.tflite"
    export.to_tflite(model, path, dtype="int8_weights")
    x = rng().normal(size=(50, 20)).astype("float32")
    kernel = as_numpy(model.weights[0]).astype("float64")
    _, scale = round_by_hand(kernel, -1)
    bound = np.abs(x).sum(axis=1, keepdims=True) * scale / 2 + EPSILON
    found = export.Runner(path).predict(x)
    expected = x @ kernel + as_numpy(model.weights[1])
    assert (np.abs(found - expected) <= bound).all()


def test_rates_of_spikes_are_as_near_as_currents_and_one_spike(tmp_path):
    """Of neurons whose currents are less than their threshold.

    What came in is what was fired, and what is left is below a threshold: so
    the rates of two neurons differ by the difference of their currents, and at
    most by one spike.
    """
    steps = 16
    dense = layers.Dense(12, use_bias=False)
    model = keras.Sequential([keras.Input((20,)), dense, layers.ReLU()])
    kernel = rng().uniform(0, 0.1, (20, 12))
    dense.kernel.assign(kernel)
    x = rng().uniform(0, 0.5, (50, 20)).astype("float32")
    made = spiking.to_spiking(model, x, timesteps=steps, percentile=100)
    path = tmp_path / "model.tflite"
    export.to_tflite(made, path, dtype="int8_weights")
    threshold = float((x @ kernel).max())
    _, scale = round_by_hand(kernel, -1)
    current = np.abs(x).sum(axis=1, keepdims=True) * scale / 2
    bound = current + threshold / steps + EPSILON
    gap = np.abs(export.Runner(path).predict(x) - made.predict(x, verbose=0))
    assert (gap <= bound).all()
    assert gap.max() > 0


def test_zeros_and_models_without_a_kernel_are_kept(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(3)(inputs))
    kernel = np.ones((4, 3), "float32")
    kernel[:, 1] = 0
    model.layers[1].kernel.assign(kernel)
    path = tmp_path / "model.tflite"
    export.to_tflite(model, path, dtype="int8_weights")
    x = rng().normal(size=(5, 4)).astype("float32")
    assert export.verify(model, path, x).maximum < EPSILON
    plain = keras.Model(inputs, layers.ReLU()(inputs))
    audit = export.to_tflite(plain, path, dtype="int8_weights")
    assert [operation.name for operation in audit.operations] == ["RELU"]


@pytest.mark.long
def test_loops_begin_with_values_that_are_not_written_out(tmp_path):
    """Whatever the time, a spiking network's file is about its weights."""
    x = rng().normal(size=(8, 8, 8, 3)).astype("float32")
    sizes = []
    for steps in (4, 64):
        model = spiking.to_spiking(images(), x, timesteps=steps)
        path = tmp_path / f"{steps}.tflite"
        audit = export.to_tflite(model, path, dtype="int8_weights")
        sizes.append(audit.size)
        assert audit.parameters < 1.1 * model.count_params() + 100
        names = [operation.name for operation in audit.operations]
        assert "FILL" in names
        gap = export.Runner(path).predict(x) - rounded_twin(model)(x)
        assert np.abs(gap).max() < EPSILON
    assert sizes[1] < 1.05 * sizes[0]


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8_weights"])
def test_no_file_in_floats_grows_with_the_time(dtype, tmp_path):
    x = rng().normal(size=(8, 8, 8, 3)).astype("float32")
    sizes, path = [], tmp_path / "model.tflite"
    for steps in (4, 64):
        model = spiking.to_spiking(images(), x, timesteps=steps)
        sizes.append(export.to_tflite(model, path, dtype=dtype).size)
    assert sizes[1] < 1.05 * sizes[0]
    if dtype != "int8_weights":  # whose weights are others
        loss = 2e-2 if dtype == "float16" else EPSILON
        expected = model.predict(x, verbose=0)
        gap = np.abs(export.Runner(path).predict(x) - expected)
        # Weights that are rounded may move a spike.
        assert np.median(gap) < loss * np.abs(expected).max()


def test_a_file_says_what_it_is_and_takes_floats(tmp_path):
    model, path = shared(), tmp_path / "model.tflite"
    with pytest.raises(
        ValueError, match="must be 'float32' in a file of int8_w"
    ):
        export.to_tflite(model, path, dtype="int8_weights", input_dtype="int8")
    metadata = export.Metadata("mine", license="MIT")
    export.to_tflite(model, path, dtype="int8_weights", metadata=metadata)
    assert export.Metadata.read(path).license == "MIT"
    assert export.footprint(path).size == path.stat().st_size
