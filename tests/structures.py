"""Structures that channels pass through, each with what it can lose.

A structure is a function from a map `(8, 8, 8)` to a tensor of any shape, made
between two convolutions.
"""

import keras
import numpy as np

layers, ops = keras.layers, keras.ops


def conv(x, filters, kernel_size=1, **arguments):
    arguments = {"padding": "same", **arguments}
    return layers.Conv2D(filters, kernel_size, **arguments)(x)


def split_and_gate(x):
    first, second = ops.split(conv(x, 12), 2, axis=-1)
    return first * ops.sigmoid(second)


def split_unequally(x):
    first, second, third = ops.split(conv(x, 12), [3, 8], axis=-1)
    return ops.concatenate([third, conv(second, 4), first], axis=-1)


def split_and_keep_half(x):
    first, second = ops.split(conv(x, 12), 2, axis=-1)
    return ops.concatenate([layers.LayerNormalization()(first), second], -1)


def slices(x):
    return ops.concatenate([conv(x[..., 5:], 4), x[..., :5]], axis=-1)


def overlapping_slices(x):
    return x[:, 1:, :, :5] + x[:, :-1, :, 3:]


def stepped_slices(x):
    return ops.maximum(x[..., ::2], x[..., 1::2])


def reversed_slice(x):
    return ops.concatenate([x, x[..., ::-1]], axis=-1)


def one_channel_slice(x):
    return x[..., 1:] * ops.sigmoid(x[..., :1])


def parametric_shared(x):
    return layers.PReLU(shared_axes=[1, 2])(conv(x, 6))


def parametric_per_position(x):
    return layers.PReLU()(conv(x, 6))


def parametric_of_one_slope(x):
    return layers.PReLU(shared_axes=[1, 2, 3])(conv(x, 6))


def spatial_attention(x):
    x = layers.ReLU()(x)
    mean = ops.mean(x, axis=-1, keepdims=True)
    most = ops.max(x, axis=-1, keepdims=True)
    seen = layers.Concatenate()([mean, most])
    return x * conv(seen, 1, 3, activation="sigmoid", use_bias=False)


def channel_attention(x):
    first, second = layers.Dense(4, activation="relu"), layers.Dense(8)
    mean = second(first(layers.GlobalAveragePooling2D()(x)))
    most = second(first(layers.GlobalMaxPooling2D()(x)))
    gate = layers.Reshape((1, 1, 8))(ops.sigmoid(mean + most))
    return layers.Multiply()([x, gate])


def reductions_of_signed_values(x):
    least = ops.min(x, axis=-1, keepdims=True)
    total = ops.sum(x, axis=3, keepdims=True)
    energy = ops.mean(ops.square(x), axis=[-1], keepdims=True)
    most = ops.expand_dims(ops.max(x, axis=-1), -1)
    return ops.concatenate([least, total, energy, most, x], axis=-1)


def squeeze_and_excite(x):
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = conv(conv(gate, 4, activation="relu"), 8, activation="sigmoid")
    return layers.Multiply()([x, gate])


def squeeze_with_new_axes(x):
    gate = ops.mean(x, axis=(1, 2))
    gate = layers.Dense(8, activation="hard_sigmoid")(gate)
    return x * gate[:, None, None, :]


def squeeze_with_expanded_axes(x):
    gate = layers.Dense(8, activation="sigmoid")(ops.mean(x, axis=(1, 2)))
    return x * ops.expand_dims(ops.expand_dims(gate, 1), 1)


def grouped(x):
    x = conv(x, 8, 3, groups=2, use_bias=False)
    return layers.ReLU()(layers.BatchNormalization()(x))


def grouped_often(x):
    return conv(conv(x, 16, activation="relu"), 16, 3, groups=8)


def grouped_residual(x):
    y = conv(conv(x, 12, activation="relu"), 12, 3, groups=3)
    return layers.Add()([conv(layers.ReLU()(y), 8), x])


def grouped_to_depths(x):
    return conv(x, 16, 3, groups=8)


def channel_shuffle(x):
    x = conv(x, 8, groups=2, activation="relu")
    x = layers.Reshape((8, 8, 2, 4))(x)
    x = layers.Reshape((8, 8, 8))(ops.transpose(x, (0, 1, 2, 4, 3)))
    return conv(x, 8, groups=2)


def shuffle_unit(x):
    kept, x = ops.split(x, 2, axis=-1)
    x = conv(x, 4, activation="relu")
    x = layers.BatchNormalization()(
        layers.DepthwiseConv2D(3, padding="same")(x)
    )
    x = layers.Concatenate()([kept, conv(x, 4, activation="relu")])
    x = ops.transpose(ops.reshape(x, (-1, 8, 8, 2, 4)), (0, 1, 2, 4, 3))
    return ops.reshape(x, (-1, 8, 8, 8))


def shuffle_units(x):
    x = layers.ReLU()(layers.BatchNormalization()(conv(x, 16)))
    for _ in range(2):
        kept, x = ops.split(x, 2, axis=-1)
        x = layers.Concatenate()([kept, conv(x, 8, activation="relu")])
        x = ops.transpose(ops.reshape(x, (-1, 8, 8, 2, 8)), (0, 1, 2, 4, 3))
        x = ops.reshape(x, (-1, 8, 8, 16))
    return x


def selective_kernels(x):
    branches = [conv(x, 6, size, activation="relu") for size in (1, 3)]
    stacked = ops.stack(branches, axis=1)
    hidden = layers.Dense(4, activation="relu")(
        layers.GlobalAveragePooling2D()(ops.sum(stacked, axis=1))
    )
    scores = ops.stack([layers.Dense(6)(hidden) for _ in branches], axis=1)
    shares = ops.softmax(scores, axis=1)
    return ops.sum(stacked * shares[:, :, None, None, :], axis=1)


def pixel_shuffle(x):
    return ops.depth_to_space(conv(x, 24), 2)


def pixel_shuffle_by_reshaping(x):
    x = ops.reshape(conv(x, 24), (-1, 8, 8, 2, 2, 6))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return layers.ReLU()(ops.reshape(x, (-1, 16, 16, 6)))


def pixel_unshuffle(x):
    return ops.space_to_depth(conv(x, 6), 2)


def time_distributed_dense(x):
    hidden = layers.Dense(6, activation="relu")
    return layers.TimeDistributed(hidden)(layers.Reshape((64, 8))(x))


def time_distributed_rows(x):
    rows = layers.Conv1D(6, 3, padding="same", activation="relu")
    return layers.TimeDistributed(rows)(x)


def time_distributed_model(x):
    inputs = keras.Input((8, 8))
    y = layers.Conv1D(6, 3, activation="relu")(inputs)
    y = layers.GlobalAveragePooling1D()(layers.BatchNormalization()(y))
    return layers.TimeDistributed(keras.Model(inputs, y))(x)


def sequence(x):
    return layers.Reshape((64, 8))(x)[:, :6]


def lstm(x):
    return layers.LSTM(5, return_sequences=True)(sequence(x))


def gru(x):
    return layers.GRU(5)(sequence(x))


def simple_rnn(x):
    return layers.SimpleRNN(5)(sequence(x))


def bidirectional(x):
    return layers.Bidirectional(layers.LSTM(5))(sequence(x))


def bidirectional_summed(x):
    inner = layers.GRU(5, return_sequences=True)
    return layers.Bidirectional(inner, merge_mode="sum")(sequence(x))


def lstm_with_state(x):
    states = layers.Dense(5)(layers.GlobalAveragePooling2D()(x))
    outputs, _, cell = layers.LSTM(5, return_state=True)(
        sequence(x), initial_state=[states, states]
    )
    return outputs + cell


def stacked_cells(x):
    cells = [layers.LSTMCell(5), layers.GRUCell(4)]
    return layers.RNN(cells)(sequence(x))


def convolutional_lstm(x):
    return layers.ConvLSTM1D(4, 3)(x)


def one_channel_gate(x):
    return layers.Multiply()([x, conv(x, 1, activation="sigmoid")])


def one_channel_gate_of_a_join(x):
    y = conv(x, 6, activation="relu")
    gate = ops.sigmoid(conv(layers.Concatenate()([x, y]), 1))
    return conv(gate * y, 8) + (1.0 - gate) * x


def one_channel_offset(x):
    return layers.Add()([conv(x, 6), conv(x, 1)])


def structures():
    """Return all structures by their names."""
    found = {k: v for k, v in globals().items() if callable(v)}
    return {
        name: made
        for name, made in found.items()
        if getattr(made, "__module__", "") == __name__
        and name
        not in ("conv", "structures", "network", "pooled", "mixed_graph")
    }


def network(structure):
    """A network of two layers around a structure."""
    inputs = keras.Input((8, 8, 3))
    x = structure(conv(inputs, 8, 3, activation="relu", name="before"))
    if len(x.shape) == 4:
        x = conv(x, 6, activation="relu", name="behind")
    else:
        x = layers.Dense(6, activation="relu", name="behind")(x)
    return keras.Model(inputs, layers.Dense(3, name="head")(pooled(x)))


def pooled(x):
    if len(x.shape) == 4:
        return layers.GlobalAveragePooling2D()(x)
    if len(x.shape) == 3:
        return layers.GlobalAveragePooling1D()(x)
    return x


def mixed_graph(seed):
    """A network of structures in random order, with joins around them."""
    rng = np.random.default_rng(seed)
    made = list(structures().values())

    def map_of(x):
        """Bring a result back to `(8, 8, 8)`."""
        if len(x.shape) == 3:
            x = layers.Dense(8)(x)
            x = layers.GlobalAveragePooling1D()(x)
        if len(x.shape) == 2:
            x = layers.Reshape((8, 8, 1))(layers.Dense(64)(x))
        if x.shape[1] > 8:
            x = layers.AveragePooling2D(2)(x)
        if x.shape[1] < 7:
            x = layers.UpSampling2D(2)(x)
        x = layers.ZeroPadding2D(((0, 8 - x.shape[1]), (0, 0)))(x)
        return x if x.shape[-1] == 8 else conv(x, 8)

    def step(x):
        y = map_of(made[rng.integers(len(made))](x))
        kind = rng.integers(8)
        if kind == 0:
            return layers.Add()([x, y])
        if kind == 1:
            return conv(layers.Concatenate()([y, x]), 8, 3)
        if kind == 2:
            return layers.ReLU()(layers.BatchNormalization()(y))
        if kind == 3:
            return layers.Multiply()([x, y])
        if kind == 4:
            return layers.DepthwiseConv2D(3, padding="same")(y)
        if kind == 5:
            inside = keras.Input((8, 8, 8))
            nested = keras.Model(inside, conv(inside, 8, activation="silu"))
            return nested(y)
        return y

    inputs = keras.Input((8, 8, 3))
    x = conv(inputs, 8, 3)
    for _ in range(rng.integers(2, 5)):
        x = step(x)
    x = pooled(made[rng.integers(len(made))](x))
    return keras.Model(inputs, layers.Dense(3)(x))
