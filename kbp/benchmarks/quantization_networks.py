"""The networks of the quantization race, for CIFAR-10's images."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

import kbp
from kbp.benchmarks import trial

BATCH_NORM = {"momentum": 0.9}  # Keras's 0.99 lags in trainings this short


@dataclass(frozen=True)
class Network:
    """A network and how it is trained in float.

    Attributes:
        build: `build(keras) -> model`, of Keras or tf_keras.
        learning_rate: its peak.
        weight_decay: decoupled.
    """

    build: Callable
    learning_rate: float
    weight_decay: float


def residual(keras=keras) -> keras.Model:
    """Return the network of the pruning race."""
    return trial.network(32, keras)


def separable(
    keras=keras, *, width: int = 16, expansion: int = 4, relu6: bool = True
) -> keras.Model:
    """Return a network of inverted residual blocks.

    After Sandler et al., MobileNetV2, 2018, for small images: a stem of stride
    2, five blocks of a 1x1 convolution, a depthwise 3x3 and a linear 1x1,
    global pooling, a dense head.

    Args:
        keras: the package that makes it, Keras or tf_keras.
        width: channels of the first stage.
        expansion: channels inside a block for each that goes in.
        relu6: whether activations end at 6.
    """
    layers = keras.layers

    def activate(x):
        return layers.ReLU(6.0 if relu6 else None)(x)

    def convolve(x, filters, kernel_size=1, strides=1):
        x = layers.Conv2D(
            filters, kernel_size, strides, padding="same", use_bias=False
        )(x)
        return layers.BatchNormalization(**BATCH_NORM)(x)

    def block(x, filters, strides):
        y = activate(convolve(x, expansion * x.shape[-1]))
        y = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(
            y
        )
        y = activate(layers.BatchNormalization(**BATCH_NORM)(y))
        y = convolve(y, filters)
        same = strides == 1 and filters == x.shape[-1]
        return layers.Add()([x, y]) if same else y

    inputs = keras.Input((32, 32, 3))
    x = activate(convolve(inputs, width, 3, 2))
    for filters, strides in ((1, 1), (2, 2), (2, 1), (4, 2), (4, 1)):
        x = block(x, filters * width, strides)
    x = activate(convolve(x, 8 * width))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10)(x))


def depthwise(keras=keras) -> keras.Model:
    """Return a small separable network whose channels differ in range.

    Its depthwise convolutions begin with channels from 1/32 to 32 times the
    usual size, and no activation has a bound. In float that is nothing; one
    range for all channels leaves few of its 256 steps to most of them.
    """
    model = separable(keras, width=8, expansion=2, relu6=False)
    rng = np.random.default_rng(0)
    for layer, norm in itertools.pairwise(model.layers):
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            sizes = np.linspace(-5.0, 5.0, norm.gamma.shape[0])
            norm.gamma.assign(2.0 ** rng.permutation(sizes))
    return model


def attention(keras=keras) -> keras.Model:
    """Return two layers of attention over 4x4 patches of 8x8 pixels.

    Each is followed by a feed-forward layer of four times its width, with
    residual connections around both.
    """
    layers, width = keras.layers, 192
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(width, 8, 8)(inputs)
    x = layers.Reshape((16, width))(x)  # (batch, patches, width)
    x = kbp.layers.PositionEmbedding()(x)
    for _ in range(2):
        x = kbp.layers.SelfAttention(4)(x)
        y = layers.Dense(4 * width, activation="relu")(x)
        x = layers.Add()([x, layers.Dense(width)(y)])
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(10)(x))


NETWORKS = {
    "residual": Network(residual, 0.3, 3e-3),
    "separable": Network(separable, 0.3, 3e-3),
    "depthwise": Network(depthwise, 0.3, 3e-3),
    "attention": Network(attention, 0.03, 1e-3),
}
