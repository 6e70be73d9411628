"""The networks of the quantization race, for CIFAR-10's images."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

import kbp
from kbp import graph
from kbp.benchmarks.optimizers import trial

BATCH_NORM = {"momentum": 0.9}  # Keras's 0.99 lags in training this short


@dataclass(frozen=True)
class Network:
    """A network and how it is trained in float.

    Attributes:
        build: `build(keras) -> model`, of Keras or tf_keras.
        learning_rate: its peak.
        weight_decay: decoupled.
        finish: `finish(model)` changes it after that training.
    """

    build: Callable
    learning_rate: float
    weight_decay: float
    finish: Callable | None = None


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


def small_separable(keras=keras) -> keras.Model:
    """Return a separable network of few channels, without bounds at 6."""
    return separable(keras, width=8, expansion=2, relu6=False)


def unbalance(model: keras.Model) -> None:
    """Make depthwise channels differ in range without changing the function.

    ReLU lets a factor through: each channel of a depthwise convolution is
    multiplied by one between 1/16 and 16, and the weights that the next
    convolution has for it are divided by it. Training leaves such channels in
    separable networks too, which is why they are hard to quantize: Nagel et
    al., Data-Free Quantization Through Weight Equalization, 2019.
    """
    rng = np.random.default_rng(0)
    for call in graph.nodes(model):
        if isinstance(call.operation, keras.layers.DepthwiseConv2D):
            norm, _, convolution = _followers(call, 3)
            gamma, beta = norm.operation.gamma, norm.operation.beta
            factors = 2.0 ** rng.uniform(-4.0, 4.0, gamma.shape)
            gamma.assign(gamma * factors)
            beta.assign(beta * factors)
            kernel = convolution.operation.kernel
            kernel.assign(kernel / factors[:, None])  # (1, 1, in, out)


def _followers(call, count):
    """Return the uses of layers that follow one, each the only one there."""
    found: list[graph.Node] = []
    while len(found) < count:
        call = call.successor
        found.append(call)
    return found


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
    "separable": Network(separable, 0.3, 1e-3),
    "unbalanced": Network(small_separable, 0.3, 1e-3, unbalance),
    "attention": Network(attention, 0.03, 1e-3),
}
