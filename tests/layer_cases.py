"""kbp's layers, as tests of all of them make them."""

import keras

from kbp import layers

# How each is made, the shapes of its inputs without the batch axis, and the
# number of its variables that are not trained.
CASES = {
    "dtm_dense": (lambda: layers.DTMDense(4, threshold=0.1), [(5,)], 2),
    "dtm_dense_signed": (
        lambda: layers.DTMDense(4, score="signed", threshold=-0.5),
        [(2, 5)],
        2,
    ),
    "dtm_conv2d": (
        lambda: layers.DTMConv2D(4, 3, granularity="channel", threshold=0.1),
        [(6, 6, 2)],
        2,
    ),
    "dtm_dense_bounded": (
        lambda: layers.DTMDense(4, threshold=0.1, path_norm_bound=0.5),
        [(5,)],
        2,
    ),
    "channel_scale": (lambda: layers.ChannelScale(), [(5, 4)], 0),
    "channel_scale_repeated": (
        lambda: layers.ChannelScale(arrangements=[[0, 0, -1, 1]]),
        [(4,)],
        0,
    ),
    "residual_dense_bounded": (
        lambda: layers.ResidualDense(4, activation="tanh", path_norm_bound=0.5),
        [(5,), (4,)],
        0,
    ),
    "residual_dense": (lambda: layers.ResidualDense(4), [(5,), (4,)], 0),
    "residual_dense_projection": (
        lambda: layers.ResidualDense(4, activation="tanh"),
        [(5,), (3,)],
        0,
    ),
    "residual_conv2d": (
        lambda: layers.ResidualConv2D(4, activation="tanh"),
        [(6, 6, 2), (6, 6, 4)],
        0,
    ),
    "residual_conv2d_strided": (
        lambda: layers.ResidualConv2D(4, 3, strides=2, activation="tanh"),
        [(6, 6, 2), (6, 6, 2)],
        0,
    ),
    "residual_dense_regularized": (
        lambda: layers.ResidualDense(
            4,
            activation="tanh",
            dropout=0.2,
            stochastic_depth=0.1,
            kernel_initializer="he_normal",
            kernel_regularizer="l2",
        ),
        [(5,), (4,)],
        2,
    ),
    "self_attention_regularized": (
        lambda: layers.SelfAttention(
            2,
            stochastic_depth=0.1,
            kernel_initializer="glorot_normal",
            kernel_regularizer="l2",
        ),
        [(5, 6)],
        1,
    ),
    "self_attention": (lambda: layers.SelfAttention(2), [(5, 6)], 0),
    "gradient_range": (lambda: layers.GradientRange(-1, 0.5), [(5, 6)], 0),
    "position": (
        lambda: layers.PositionEmbedding(initializer="ones"),
        [(5, 6)],
        0,
    ),
    "table_encoding": (lambda: layers.TableEncoding([0, 3, 0]), [(3,)], 2),
    "inverse_standardization": (
        lambda: layers.InverseStandardization(),
        [(3,)],
        2,
    ),
    "standardization": (lambda: layers.Standardization(), [(5, 6)], 2),
    "truncated": (
        lambda: layers.TruncatedRNN(
            keras.layers.LSTM(4, return_sequences=True), 2
        ),
        [(5, 3)],
        1,
    ),
    "truncated_at_random": (
        lambda: layers.TruncatedRNN(
            keras.layers.GRU(4), 2, mode="randomized", seed=0
        ),
        [(5, 3)],
        2,
    ),
    "window_slice": (
        lambda: layers.WindowSlice((1, 4), (2, 6)),
        [(5, 6)],
        0,
    ),
    "window_statistics": (lambda: layers.WindowStatistics(), [(5, 6)], 0),
    "window_normalization": (
        lambda: layers.WindowNormalization(),
        [(5, 6), (6, 2)],
        0,
    ),
    "window_restoration": (
        lambda: layers.WindowNormalization(invert=True),
        [(5, 6), (5, 2)],
        0,
    ),
}
