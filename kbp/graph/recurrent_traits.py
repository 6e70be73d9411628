"""The traits of recurrent layers."""

from dataclasses import replace

import keras
from keras import layers

from kbp.graph import integer_limits as limits
from kbp.graph.traits import LayerTraits
from kbp.layers import TruncatedRNN

# Their own channels all stay.
_CELL = LayerTraits(kernel="kernel")
_LAYER = LayerTraits(channels="recurrent")
ROWS: dict[type[keras.layers.Layer], LayerTraits] = {
    **dict.fromkeys((layers.LSTMCell, layers.GRUCell), _CELL),
    layers.SimpleRNNCell: _CELL,
    **dict.fromkeys(
        (
            layers.Bidirectional,
            layers.ConvLSTM1D,
            layers.ConvLSTM2D,
            layers.ConvLSTM3D,
            layers.RNN,
            TruncatedRNN,
        ),
        _LAYER,
    ),
    **dict.fromkeys(
        (layers.GRU, layers.LSTM, layers.SimpleRNN), replace(_LAYER, safe=True)
    ),
    layers.TimeDistributed: LayerTraits(
        channels="keep", problem=limits.of_distribution
    ),
}
