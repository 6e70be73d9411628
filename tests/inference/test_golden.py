"""Golden outputs of models with several outputs."""

import keras
import numpy as np
import pytest
from keras import layers

from kbp import export
from kbp.errors import UserError
from kbp.inference import golden
from kbp.quantization import quantize_aware

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")


@pytest.mark.parametrize("names", [("narrow", "wide"), (0, 1)])
def test_outputs_of_different_shapes_are_held_one_by_one(names, tmp_path):
    inputs = keras.Input((4,))
    outputs = [layers.Dense(width)(inputs) for width in (1, 2)]
    if names[0] != 0:
        outputs = dict(zip(names, outputs, strict=True))
    model = keras.Model(inputs, outputs)
    export.to_tflite(quantize_aware(model, [X]), tmp_path / "a.tflite")
    file = golden.write(tmp_path, model, tmp_path / "a.tflite", X)
    golden.check(file, model, tmp_path / "a.tflite")
    with np.load(file) as content:
        arrays = dict(content)
    first, second = names
    assert arrays.keys() == {
        *("inputs", f"keras.{first}", f"keras.{second}"),
        *(f"int8.{first}", f"int8.{second}"),
    }
    right = keras.tree.flatten(model.predict(X[:4], verbose=0))
    for kind in golden.TOLERANCES:
        assert arrays[f"{kind}.{first}"].shape == (4, 1)
        assert arrays[f"{kind}.{second}"].shape == (4, 2)
    np.testing.assert_allclose(arrays[f"keras.{second}"], right[1], rtol=1e-5)
    for name in arrays.keys() - {"inputs"}:
        kind, _, one = name.partition(".")
        arrays[name] = arrays[name] + np.array(7, arrays[name].dtype)
        np.savez(file, **arrays)
        with pytest.raises(UserError, match=f"{kind} .*output '{one}' are"):
            golden.check(file, model, tmp_path / "a.tflite")
        arrays[name] = arrays[name] - np.array(7, arrays[name].dtype)
        without = {key: value for key, value in arrays.items() if key != name}
        np.savez(file, **without)
        with pytest.raises(UserError, match=f"holds no array '{name}'"):
            golden.check(file, model, tmp_path / "a.tflite")


def test_examples_for_a_file_are_golden_or_noise_in_its_range(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    path = tmp_path / "a.tflite"
    export.to_tflite(quantize_aware(model, [X]), path)
    (noise,) = golden.inputs_for(path, 64)
    assert noise.shape == (64, 4)
    scale, zero = export.Runner(path).inputs[0]["quantization"]
    low, high = scale * (-128 - zero), scale * (127 - zero)
    assert low <= noise.min() < low + 0.1 * (high - low)
    assert high - 0.1 * (high - low) < noise.max() <= high
    np.testing.assert_array_equal(golden.inputs_for(path, 64)[0], noise)
    golden.write(tmp_path, model, path, X[:2])
    np.testing.assert_array_equal(golden.inputs_for(path)[0], X[:2])
    np.savez(tmp_path / "golden.npz", inputs=np.zeros((2, 5)))
    assert golden.inputs_for(path)[0].shape == (4, 4)  # of another model


def test_examples_of_indices_are_zeros(tmp_path):
    inputs = keras.Input((2,), dtype="int32")
    outputs = layers.Flatten()(layers.Embedding(5, 3)(inputs))
    path = tmp_path / "a.tflite"
    export.to_tflite(keras.Model(inputs, outputs), path)
    (found,) = golden.inputs_for(path)
    assert found.dtype == np.int32
    assert not found.any()
