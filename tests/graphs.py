"""Networks that nobody has designed."""

import keras
import numpy as np

layers = keras.layers


def randomized(model, rng):
    """Give a model weights and statistics of which none is special."""
    for weight in model.weights:
        low = 0.5 if "variance" in weight.path else -1.0
        scale = 1.0 if len(weight.shape) < 2 else weight.shape[-2] ** -0.5
        weight.assign(scale * rng.uniform(low, 1.5, weight.shape))
    return model


def random_graph(seed):
    """A network of convolutions joined in random ways."""
    rng = np.random.default_rng(seed)

    def conv(x, filters):
        kind = rng.integers(4)
        activation = str(rng.choice(["linear", "relu", "silu", "tanh"]))
        if kind == 0:
            x = layers.DepthwiseConv2D(3, padding="same")(x)
        if kind == 1:
            return layers.Conv2DTranspose(
                filters, 3, padding="same", activation=activation
            )(x)
        if kind == 2:
            return layers.SeparableConv2D(filters, 3, padding="same")(x)
        x = layers.Conv2D(filters, 3, padding="same", activation=activation)(x)
        if rng.random() < 0.7:
            x = layers.BatchNormalization()(x)
        return x

    def block(x):
        channels = x.shape[-1]
        kind = rng.integers(7)
        if kind == 0:
            return layers.Add()([conv(conv(x, 6), channels), x])
        if kind == 1:
            return layers.Concatenate()([conv(x, 4), x])
        if kind == 2:  # squeeze and excitation
            s = layers.GlobalAveragePooling2D()(x)
            s = layers.Reshape((1, 1, channels))(s)
            s = layers.Conv2D(4, 1, activation="silu")(s)
            s = layers.Conv2D(channels, 1, activation="sigmoid")(s)
            return layers.Multiply()([x, s])
        if kind == 3:
            y = layers.MaxPooling2D()(x)
            y = layers.UpSampling2D()(conv(y, channels))
            return layers.Add()([x, layers.Dropout(0.3)(y)])
        if kind == 4:
            return layers.ReLU(6.0)(conv(x, 8))
        if kind == 5:
            return x + 0.5 * conv(x, channels)  # operations, not layers
        return keras.ops.relu(layers.Average()([conv(x, 8), conv(x, 8)]))

    inputs = keras.Input((8, 8, 3))
    x = conv(inputs, 6)
    for _ in range(rng.integers(2, 6)):
        x = block(x)
    if rng.random() < 0.5:
        x = layers.Flatten()(conv(x, 4))
    else:
        x = layers.GlobalMaxPooling2D()(x)
    x = layers.Dense(12, activation="gelu")(x)
    return randomized(keras.Model(inputs, layers.Dense(3)(x)), rng)
