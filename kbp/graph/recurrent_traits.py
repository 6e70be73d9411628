"""The traits of recurrent layers."""

import keras
from keras import layers

from kbp.graph import integer_limits as limits
from kbp.graph.traits import LayerTraits
from kbp.layers import TruncatedRNN

# Their own channels all stay.
_CELL = LayerTraits(kernel="kernel")
ROWS: dict[type[keras.layers.Layer], LayerTraits] = {
    **dict.fromkeys((layers.LSTMCell, layers.GRUCell), _CELL),
    layers.SimpleRNNCell: _CELL,
    **dict.fromkeys(
        (
            layers.Bidirectional,
            layers.ConvLSTM1D,
            layers.ConvLSTM2D,
            layers.ConvLSTM3D,
            layers.GRU,
            layers.LSTM,
            layers.RNN,
            layers.SimpleRNN,
            TruncatedRNN,
        ),
        LayerTraits(channels="recurrent"),
    ),
    layers.TimeDistributed: LayerTraits(
        channels="keep", problem=limits.of_distribution
    ),
}
