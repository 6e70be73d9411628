"""Files of several inputs: lists, dictionaries, indices beside floats."""

import keras
import numpy as np
import pytest
from contracts import as_numpy
from keras import layers, ops

from kbp import export
from kbp.__main__ import main
from kbp.quantization import quantize_aware

# Of Keras's, of dictionaries whose keys are other names.
pytestmark = pytest.mark.filterwarnings("ignore:When providing .inputs.")
RANDOM = np.random.default_rng(0)


def floats(*shape):
    return RANDOM.normal(size=(32, *shape)).astype("float32")


def tokens(*shape):
    return RANDOM.integers(0, 11, (32, *shape)).astype("int32")


def embedded(x):
    return layers.GlobalAveragePooling1D()(layers.Embedding(11, 6)(x))


def of_a_list():
    left, right = keras.Input((4,), name="z"), keras.Input((4,), name="a")
    model = keras.Model(
        [left, right], layers.Dense(3)(left) - layers.Dense(3)(right)
    )
    return model, [floats(4), 10 * floats(4)]


def of_a_dictionary():
    """Its keys are not the names of the inputs, nor in their order."""
    left, right = keras.Input((4,), name="i1"), keras.Input((4,), name="i2")
    outputs = layers.Dense(3)(left) - layers.Dense(3)(right)
    model = keras.Model({"z": left, "a": right}, outputs)
    return model, {"z": floats(4), "a": 10 * floats(4)}


def of_tokens_and_numbers():
    words = keras.Input((5,), dtype="int32", name="words")
    numbers = keras.Input((4,), name="numbers")
    x = layers.Concatenate()([embedded(words), layers.Dense(6)(numbers)])
    outputs = {"y": layers.Dense(3)(x), "label": ops.argmax(x, axis=-1)}
    model = keras.Model({"words": words, "numbers": numbers}, outputs)
    return model, {"words": tokens(5), "numbers": floats(4)}


def of_two_texts():
    """One table is looked up twice."""
    left, right = (keras.Input((5,), dtype="int32", name=n) for n in "ab")
    table = layers.Embedding(11, 6)
    model = keras.Model(
        [left, right], ops.mean(table(left) * table(right), axis=1)
    )
    return model, [tokens(5), tokens(5)]


def of_a_mask():
    x, mask = keras.Input((4,), name="x"), keras.Input((4,), dtype="bool")
    model = keras.Model([x, mask], ops.where(mask, layers.Dense(4)(x), 0.0))
    return model, [floats(4), RANDOM.random((32, 4)) < 0.5]


def of_names_like_quantizers():
    x, y = keras.Input((4,), name="x_quant"), keras.Input((4,), name="x")
    model = keras.Model([x, y], layers.Dense(3)(x) - layers.Dense(3)(y))
    return model, {"x_quant": floats(4), "x": floats(4)}


MODELS = {
    function.__name__: function
    for function in (
        of_a_list,
        of_a_dictionary,
        of_tokens_and_numbers,
        of_two_texts,
        of_a_mask,
        of_names_like_quantizers,
    )
}


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_files_of_several_inputs_give_what_the_model_gives(name, tmp_path):
    keras.utils.set_random_seed(0)
    model, data = MODELS[name]()
    path = tmp_path / "model.tflite"
    for computed in (model, quantize_aware(model, data)):
        export.to_tflite(computed, path, verify_with=data)
        expected = computed.predict(data, verbose=0)
        found = export.Runner(path).predict(data)
        pairs = zip(
            keras.tree.flatten(expected), keras.tree.flatten(found), strict=True
        )
        for of_model, of_file in pairs:
            assert np.isclose(of_file, of_model, atol=1e-3).mean() > 0.97
        for reference in (False, True):
            check = export.verify(
                computed, path, data, reference=reference, original=model
            )
            assert check.within_one >= 0.99
            assert check.from_original < 0.1


def test_commands_take_files_of_several_inputs(tmp_path, capsys):
    model, data = of_tokens_and_numbers()
    path = tmp_path / "model.tflite"
    export.to_tflite(quantize_aware(model, data), path)
    assert main(["audit", str(path)]) in (0, None)
    assert "ARG_MAX" in capsys.readouterr().out
    assert main(["benchmark", str(path), "--rounds", "2"]) in (0, None)
    assert "median" in capsys.readouterr().out


def test_wrong_inputs_are_named(tmp_path):
    model, data = of_a_dictionary()
    path = tmp_path / "model.tflite"
    export.to_tflite(quantize_aware(model, data), path)
    with pytest.raises(ValueError, match="must have the inputs a, z"):
        export.Runner(path).predict({"z": data["z"], "i2": data["a"]})
    assert (
        as_numpy(model(data)).shape
        == export.Runner(path).predict([data["a"], data["z"]]).shape
    )
