"""Who uses which layer of a model, and what it is connected with."""

import keras
import pytest
from keras import layers

import kbp
from kbp import graph


def names(nodes):
    return [node.operation.name for node in nodes]


def by_name(model):
    """Return the uses of each layer, in order."""
    found = {}
    for node in graph.nodes(model):
        found.setdefault(node.operation.name, []).append(node)
    return found


def diamond():
    inputs = keras.Input((4,), name="input")
    x = layers.Dense(3, name="stem")(inputs)
    left = layers.Dense(3, name="left")(x)
    right = layers.ReLU(name="right")(x)
    outputs = layers.Add(name="sum")([left, right])
    return keras.Model(inputs, outputs)


def test_uses_are_listed_in_order_of_execution():
    found = names(graph.nodes(diamond()))
    assert found[0] == "stem"
    assert set(found[1:3]) == {"left", "right"}
    assert found[3:] == ["sum"]


def test_consumers_and_producers_are_each_others_mirror():
    found = {name: uses[0] for name, uses in by_name(diamond()).items()}
    assert not found["stem"].producers
    assert set(names(found["stem"].consumers)) == {"left", "right"}
    assert names(found["left"].producers) == ["stem"]
    assert names(found["left"].consumers) == ["sum"]
    assert names(found["sum"].producers) == ["left", "right"]
    assert not found["sum"].consumers


def test_successor_is_the_only_reader():
    found = {name: uses[0] for name, uses in by_name(diamond()).items()}
    assert found["stem"].successor is None  # read twice
    assert found["left"].successor is found["sum"]
    assert found["sum"].successor is None  # the end


def test_what_is_also_an_output_has_no_successor():
    inputs = keras.Input((4,))
    hidden = layers.Dense(3, name="hidden")(inputs)
    last = layers.Dense(2, name="last")(hidden)
    model = keras.Model(inputs, {"features": hidden, "logits": last})
    (found,), (end,) = by_name(model)["hidden"], by_name(model)["last"]
    assert found.is_output
    assert end.is_output
    assert names(found.consumers) == ["last"]
    assert found.successor is None


def test_same_tensor_twice_counts_as_two_readings():
    inputs = keras.Input((4,))
    hidden = layers.Dense(4, name="hidden")(inputs)
    model = keras.Model(inputs, layers.Multiply(name="square")([hidden] * 2))
    (hidden,) = by_name(model)["hidden"]
    assert names(hidden.consumers) == ["square", "square"]
    assert hidden.successor is None


def test_shared_layer_has_one_use_for_each_call():
    inputs = keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    x = layers.ReLU(name="between")(shared(inputs))
    first, second = by_name(keras.Model(inputs, shared(x)))["shared"]
    assert first.operation is second.operation
    assert not first.is_output
    assert second.is_output
    assert names([first.successor]) == ["between"]
    assert second.successor is None


def test_tensors_in_keywords_are_inputs_and_constants_are_arguments():
    inputs = keras.Input((3, 4))
    value = layers.Dense(4, name="value")(inputs)
    attend = layers.Attention(name="attend")
    x = attend([inputs, value])
    model = keras.Model(inputs, keras.ops.multiply(x, x2=3.0) + 2.0)
    found = by_name(model)
    assert names(found["attend"][0].producers) == ["value"]
    assert len(found["attend"][0].inputs) == 2
    (add,) = found["add"]
    assert add.arguments[1] == 2.0
    inputs = keras.Input((4,))
    x = layers.Dense(3, name="hidden")(inputs)
    model = keras.Model(inputs, layers.ReLU(name="end")(inputs=x))
    (end,) = by_name(model)["end"]
    assert end.arguments == ()
    assert names(end.producers) == ["hidden"]


def test_layer_is_seen_through_its_transforms():
    inputs = keras.Input((4,))
    outputs = kbp.layers.DTMDense(3, name="masked")(inputs)
    (node,) = graph.nodes(keras.Model(inputs, outputs))
    assert type(node.operation) is layers.Dense
    assert node.operation.name == "masked"


def test_nested_model_is_one_use_until_it_is_flattened():
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="a"), layers.ReLU(name="b")],
        name="inner",
    )
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2, name="last")(inner(inputs)))
    assert names(graph.nodes(model)) == ["inner", "last"]
    found = by_name(graph.flatten(model))
    assert "inner" not in found
    assert names([found["a"][0].successor]) == ["b"]
    assert names([found["b"][0].successor]) == ["last"]


def test_layer_of_several_outputs_is_known_by_each():
    class Halves(layers.Layer):
        def call(self, inputs):
            return inputs[:, :2], inputs[:, 2:]

    inputs = keras.Input((4,))
    left, right = Halves(name="halves")(inputs)
    model = keras.Model(inputs, [layers.ReLU(name="relu")(left), right])
    (halves,) = by_name(model)["halves"]
    assert len(halves.outputs) == 2
    assert halves.is_output
    assert names(halves.consumers) == ["relu"]


@pytest.mark.parametrize("layer", [layers.Dense(3), layers.Identity()])
def test_model_of_one_layer(layer):
    inputs = keras.Input((4,))
    (node,) = graph.nodes(keras.Model(inputs, layer(inputs)))
    assert node.is_output
    assert not node.producers
    assert node.successor is None
