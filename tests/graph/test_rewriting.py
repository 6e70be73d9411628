"""Models are unrolled and rebuilt with the same layers and outputs."""

import keras
import numpy as np
import pytest
from contracts import as_numpy
from keras import layers

import kbp
from kbp import graph


def assert_same_outputs(model, other):
    shape = (3, *model.input_shape[1:])
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    np.testing.assert_array_equal(as_numpy(model(x)), as_numpy(other(x)))


def dense(name, units=4):
    return layers.Dense(units, name=name)


def test_composites_are_unrolled_with_their_weights():
    model = kbp.models.PyramidBPNet((8, 8, 1), 3, width=4)
    flat = graph.flatten(model)
    assert not any(isinstance(x, kbp.layers.Composite) for x in flat.layers)
    assert {id(w) for w in flat.weights} == {id(w) for w in model.weights}
    assert_same_outputs(model, flat)


def test_names_of_unrolled_operations_begin_with_their_layers():
    inputs = keras.Input((4, 6))
    x = inputs
    for name in ("first", "second"):
        x = kbp.layers.SelfAttention(2, name=name)(x)
    flat = graph.flatten(keras.Model(inputs, x))
    names = [operation.name for operation in flat.operations]
    assert len(set(names)) == len(names)
    assert all(
        name.startswith(("first_", "second_"))
        for name in names
        if name != inputs.name and not name.startswith("input")
    )


def test_nested_models_are_unrolled_at_any_depth():
    inner = keras.Sequential([keras.Input((4,)), dense("a"), dense("b")])
    middle_in = keras.Input((4,))
    middle = keras.Model(middle_in, layers.ReLU()(inner(middle_in)))
    model = keras.Sequential([keras.Input((4,)), middle, dense("c", 2)])
    flat = graph.flatten(model)
    assert not any(isinstance(x, keras.Model) for x in flat.layers)
    assert {id(w) for w in flat.weights} == {id(w) for w in model.weights}
    assert_same_outputs(model, flat)


def test_model_that_is_used_twice_keeps_one_set_of_weights():
    inner = keras.Sequential([keras.Input((4,)), dense("shared")])
    inputs = keras.Input((4,))
    model = keras.Model(inputs, inner(inner(inputs)))
    flat = graph.flatten(model)
    found = [node.operation for node in graph.nodes(flat)]
    found = [x for x in found if isinstance(x, keras.layers.Layer)]
    assert found == [inner.layers[-1]] * 2
    assert len(flat.weights) == 2
    assert_same_outputs(model, flat)


def test_flat_model_is_given_back():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, dense("only")(inputs))
    assert graph.flatten(model) is model


def test_equal_names_in_nested_models_are_an_error():
    inputs = keras.Input((4,))
    x = inputs
    for name in ("one", "two"):
        x = keras.Sequential([dense("twin")], name=name)(x)
    with pytest.raises(ValueError, match=r"equal names. Give each its own"):
        graph.flatten(keras.Model(inputs, x))


def test_model_without_a_known_graph_is_refused():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match=r"neither functional.*Subclassed"):
        graph.flatten(Subclassed())
    with pytest.raises(ValueError, match=r"is not built. Give it an `Input`"):
        graph.as_functional(keras.Sequential([dense("only")]))
    with pytest.raises(ValueError, match=r"Expected a Keras model.*Dense"):
        graph.as_functional(dense("only"))


def test_sequential_model_becomes_functional():
    model = keras.Sequential([keras.Input((4,)), dense("only")], name="mine")
    functional = graph.as_functional(model)
    assert graph.is_functional(functional)
    assert functional.name == "mine"
    assert functional.layers[-1] is model.layers[-1]


def test_rewriting_asks_once_for_each_layer_and_calls_for_each_use():
    inputs = keras.Input((4,))
    shared = dense("shared")
    model = keras.Model(
        inputs, shared(layers.ReLU(name="relu")(shared(inputs)))
    )
    made, called = [], []

    def layer(old):
        made.append(old.name)
        return old

    def call(new, *args, **kwargs):
        called.append(new.name)
        return new(*args, **kwargs)

    new = graph.rewrite(model, layer=layer, call=call)
    assert sorted(made) == ["relu", "shared"]
    assert called == ["shared", "relu", "shared"]
    assert_same_outputs(model, new)


def test_rewriting_and_plain_models_leave_the_compilation_behind():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, dense("only")(inputs))
    model.compile("sgd", "mse")
    for new in (graph.rewrite(model), graph.plain(model)):
        assert not new.compiled
        assert new.layers[-1] is model.layers[-1]
    assert model.compiled


def test_unique_names_are_counted():
    unique = graph.UniqueNames(["a", "a_2"])
    assert [unique("a"), unique("a"), unique("b"), unique("b")] == [
        *("a_3", "a_4", "b", "b_2")
    ]


def test_tensors_are_found_in_any_structure():
    a, b = keras.Input((1,)), keras.Input((2,))
    assert graph.tensors_of(([a, 3], {"mask": None, "x": b})) == [a, b]
