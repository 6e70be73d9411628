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


# One layer, from `(height, width, channels)` to the same number of axes.
_STEPS = {
    "convolution": lambda x, r: layers.Conv2D(
        8, 3, padding="same", strides=int(r.integers(1, 3))
    )(x),
    "dilated": lambda x, r: layers.Conv2D(6, 2, dilation_rate=2)(x),
    "grouped": lambda x, r: layers.Conv2D(
        2 * x.shape[-1], 3, padding="same", groups=x.shape[-1]
    )(x),
    "depthwise": lambda x, r: layers.DepthwiseConv2D(
        3, padding="same", depth_multiplier=int(r.integers(1, 3))
    )(x),
    "separable": lambda x, r: layers.SeparableConv2D(6, 3, padding="same")(x),
    "transposed": lambda x, r: layers.Conv2DTranspose(4, 2, strides=2)(x),
    "normalized": lambda x, r: layers.ReLU()(
        layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(x))
    ),
    "average pooling": lambda x, r: layers.AveragePooling2D(
        int(r.integers(2, 4)), strides=int(r.integers(1, 3)), padding="same"
    )(x),
    "max pooling": lambda x, r: layers.MaxPooling2D(2, padding="same")(x),
    "padding": lambda x, r: layers.ZeroPadding2D(1)(x),
    "cropping": lambda x, r: layers.Cropping2D(((1, 0), (0, 1)))(x),
    "slice": lambda x, r: x[:, : x.shape[1] - 1, 1:],
    "permutation": lambda x, r: layers.Permute((2, 1, 3))(x),
    "enlargement": lambda x, r: layers.UpSampling2D(2)(x),
    "activation": lambda x, r: layers.Activation(
        str(r.choice(["relu", "relu6", "tanh", "sigmoid", "silu", "gelu"]))
    )(x),
    "leaky": lambda x, r: layers.LeakyReLU(0.1)(x),
    "parametric": lambda x, r: layers.PReLU(shared_axes=[1, 2])(x),
    "arithmetic": lambda x, r: 0.5 * x + 0.25,
    "middle": lambda x, r: layers.CenterCrop(x.shape[1] - 1, x.shape[2] - 1)(x),
    "choice": lambda x, r: keras.ops.where(x > 0.25, x, 0.5),
    "clip": lambda x, r: keras.ops.clip(x, -1.0, 1.5),
    "extremes": lambda x, r: keras.ops.max(x, axis=1, keepdims=True) - x,
}
# Of these the converter computes one, where a network has two of one tensor.
_REPEATED = ("arithmetic", "clip")
# Of two tensors of one shape.
_JOINS = {
    "add": lambda x, y: layers.Add()([x, y]),
    "subtract": lambda x, y: layers.Subtract()([x, y]),
    "multiply": lambda x, y: layers.Multiply()([x, y]),
    "average": lambda x, y: layers.Average()([x, y]),
    "maximum": lambda x, y: layers.Maximum()([x, y]),
    "minimum": lambda x, y: layers.Minimum()([x, y]),
    "concatenate": lambda x, y: layers.Concatenate()([x, y]),
}


def any_graph(seed):
    """A network of layers of all kinds in random order, with joins.

    Its weights are those of Keras's initializers. It takes `(12, 12, 3)`.
    """
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)

    def step(x):
        names = [
            name
            for name in _STEPS
            if min(x.shape[1:3]) > 3
            or name in ("activation", "enlargement", "leaky", "padding")
        ]
        if max(x.shape[1:3]) > 20:
            names = ["max pooling", "average pooling"]
        return _STEPS[str(rng.choice(names))](x, rng)

    def chain(x, count):
        for _ in range(count):
            x = step(x)
        return x

    def join(x):
        y = chain(x, rng.integers(0, 3))
        if y.shape != x.shape:
            y = chain(x, 0)
        y = layers.Conv2D(x.shape[-1], 1)(y)
        if rng.random() < 0.3:
            y = layers.ReLU(6.0)(y)
        pair = [x, y] if rng.random() < 0.5 else [y, x]
        return _JOINS[str(rng.choice(list(_JOINS)))](*pair)

    def shared(x):
        layer = layers.Conv2D(x.shape[-1], 3, padding="same", activation="relu")
        return layer(layer(x))

    def nested(x):
        inside = keras.Input(x.shape[1:])
        return keras.Model(inside, join(chain(inside, 1)))(x)

    def squeeze(x):
        s = layers.GlobalAveragePooling2D(keepdims=True)(x)
        s = layers.Conv2D(4, 1, activation="relu")(s)
        s = layers.Conv2D(x.shape[-1], 1, activation="sigmoid")(s)
        return layers.Multiply()([x, s])

    def attend(x):
        height, width, channels = x.shape[1:]
        tokens = layers.Reshape((height * width, channels))(x)
        tokens = layers.MultiHeadAttention(2, 4)(tokens, tokens)
        return layers.Reshape((height, width, channels))(tokens)

    def twice(x):  # of which one is joined, and so has another range
        name = _REPEATED[seed % 4 // 2]
        first, second = (_STEPS[name](x, rng) for _ in range(2))
        second = 3.0 * layers.Conv2D(4, 1)(second)
        return layers.Concatenate()([first, second])

    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(6, 3, padding="same")(inputs)
    for _ in range(rng.integers(2, 6)):
        block = rng.choice([0, 1, 1, 1, 2, 3, 4, 5], p=None)
        kinds = (step, join, shared, nested, squeeze, attend)
        x = kinds[int(block)](x)
        if max(x.shape[1:3]) > 20:
            x = layers.MaxPooling2D(3)(x)
    if seed % 2:
        x = twice(x)
    ends = [
        layers.Flatten(),
        layers.GlobalAveragePooling2D(),
        layers.GlobalMaxPooling2D(),
    ]
    x = ends[int(rng.integers(3))](x)
    return keras.Model(inputs, layers.Dense(5)(x))
