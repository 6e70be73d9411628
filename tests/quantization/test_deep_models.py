"""Models of more layers in a row than Python calls functions."""

import inspect
import sys

import keras
import numpy as np
import pytest
from keras import layers

from kbp import export
from kbp.quantization import quantize

LAYERS = 120


@pytest.fixture
def few_calls():
    """Let functions call each other as often as there are layers."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + LAYERS)
    yield sys.getrecursionlimit()
    sys.setrecursionlimit(limit)


@pytest.fixture
def chain():
    inputs = x = keras.Input((3,))
    for _ in range(LAYERS):
        x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(2)(x))


def test_keras_cannot_take_such_a_chain_apart(chain, few_calls):
    with pytest.raises(RecursionError, match="recursion depth"):
        keras.Model(chain.input, chain.output)


def test_deep_chain_is_exported_as_any_other(chain, few_calls, tmp_path):
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    quantized = quantize(chain, x)
    path = tmp_path / "q.tflite"
    export.to_tflite(quantized, path, verify_with=x)
    found = export.verify(quantized, path, x, original=chain)
    assert found.within_one == 1, found
    assert sys.getrecursionlimit() == few_calls
