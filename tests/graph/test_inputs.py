"""What a model's inputs and layers can take."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kbp import graph, quantization
from kbp.errors import UserError

IDS = np.random.default_rng(0).integers(0, 10, (60, 4))


def build(between=lambda x: x, dtype="int32", other=False):
    ids = keras.Input((4,), dtype=dtype, name="tokens")
    x = layers.Embedding(10, 3, name="words")(between(ids))
    x = layers.Dense(2)(layers.Flatten()(x))
    if not other:
        return keras.Model(ids, x, name="reader")
    more = keras.Input((2,), name="more")
    return keras.Model([more, ids], layers.Dense(2)(more) + x, name="reader")


def inner(x):
    ids = keras.Input((4,), dtype="int32")
    return keras.Model(ids, layers.Identity()(ids))(x)


@pytest.mark.parametrize(
    "between",
    [
        lambda x: x,
        lambda x: ops.cast(x, "int64"),
        lambda x: layers.Identity()(ops.cast(layers.Reshape((2, 2))(x), "int")),
        inner,
    ],
    ids=range(4),
)
@pytest.mark.parametrize("wrong", [10, -1, 2**40])
def test_an_index_of_no_row_is_named_with_example_input_and_layer(
    between, wrong
):
    model = graph.flatten(build(between))
    found = graph.indices_of(model)
    assert [(x.input_name, x.layer_name, x.rows) for x in found] == [
        ("tokens", "words", 10)
    ]
    graph.check_indices(found, (IDS,), "The data")
    ids = IDS.copy()
    ids[7, 2] = wrong
    with pytest.raises(
        UserError,
        match=f"The data hold {wrong} in input 'tokens' of example 37, and "
        "such in 1 of 60: layer words has 10 rows, so .* 0 to 9",
    ):
        graph.check_indices(found, (ids,), "The data", 30)


def test_what_is_computed_or_no_index_is_not_looked_at():
    assert not graph.indices_of(build(lambda x: x + 1))
    flat = graph.flatten(build(other=True))
    (found,) = graph.indices_of(flat)
    assert flat.inputs[found.place].name == "tokens"
    floats = build(dtype="float32")
    graph.check_indices(graph.indices_of(floats), (IDS + 0.9,), "The data")


@pytest.mark.parametrize("wrong", [10, -1])
def test_calibration_data_with_an_index_of_no_row_are_refused(wrong):
    ids = np.where(np.arange(240).reshape(60, 4) == 239, wrong, IDS)
    for data in (ids, [ids[:30], ids[30:]]):
        with pytest.raises(UserError, match=r"input 'tokens' .* words has 10"):
            quantization.quantize(build(), data)
    assert quantization.quantize(build(), IDS).output_shape == (None, 2)


def dense(dtype="float32"):
    return keras.Sequential(
        [
            keras.Input((4,), dtype=dtype, name="numbers"),
            layers.Dense(2, name="first"),
        ],
        name="mine",
    )


def test_inputs_in_float64_are_named():
    data = np.ones((8, 4))
    with pytest.raises(UserError, match="Input 'numbers' of model mine is flo"):
        quantization.quantize(dense("float64"), data)
    assert quantization.quantize(dense(), data).output_shape == (None, 2)
