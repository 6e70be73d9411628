"""Parameters are those of the network, whatever is around them."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from kbp.quantization import quantize_aware
from kbp.training.measuring import keras_stage

X = np.ones((2, 6, 4), "float32")
TASK = SimpleNamespace(
    inputs=lambda split: X,
    batches=lambda split: X,
    batch_size=2,
    score=lambda outputs: 0.0,
)
LAYERS = {
    "Dense": layers.Dense,
    "Conv1D": lambda units: layers.Conv1D(units, 3, activation="relu"),
    "SimpleRNN": layers.SimpleRNN,
    "LSTM": layers.LSTM,
    "GRU": layers.GRU,
    "Bidirectional": lambda units: layers.Bidirectional(layers.LSTM(units)),
}


@pytest.mark.long
@pytest.mark.parametrize("name", LAYERS)
def test_ranges_of_eight_bits_are_no_parameters(name):
    model = keras.Sequential([keras.Input((6, 4)), LAYERS[name](5)])
    stage = keras_stage("quantized", quantize_aware(model), TASK, None)
    assert stage.parameters == model.count_params()
