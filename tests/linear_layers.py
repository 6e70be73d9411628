"""Every kind of linear layer that spiking networks have, as tests make it."""

import numpy as np
from keras import layers

LINE, IMAGE, VOLUME = (8, 3), (6, 6, 3), (4, 4, 4, 2)


def adapted():
    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(0).normal(0.2, 0.5, (64, *LINE)))
    return layer


def einsum():
    return layers.EinsumDense("abc,cd->abd", (8, 5), bias_axes="d")


# Of each class how it is made, and the shape of its inputs. Those of `JOINS`
# are given two tensors.
KERNELS = {
    layers.Dense: (lambda: layers.Dense(5), (7,)),
    layers.EinsumDense: (einsum, LINE),
    layers.Conv1D: (lambda: layers.Conv1D(5, 3, strides=2), LINE),
    layers.Conv2D: (lambda: layers.Conv2D(6, 3, groups=3), IMAGE),
    layers.Conv3D: (lambda: layers.Conv3D(3, 2), VOLUME),
    layers.DepthwiseConv1D: (
        lambda: layers.DepthwiseConv1D(3, depth_multiplier=2),
        LINE,
    ),
    layers.DepthwiseConv2D: (
        lambda: layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
        IMAGE,
    ),
    layers.SeparableConv1D: (
        lambda: layers.SeparableConv1D(4, 3, strides=2, depth_multiplier=2),
        LINE,
    ),
    layers.SeparableConv2D: (
        lambda: layers.SeparableConv2D(4, 3, padding="same"),
        IMAGE,
    ),
    layers.Conv1DTranspose: (lambda: layers.Conv1DTranspose(4, 3), LINE),
    layers.Conv2DTranspose: (
        lambda: layers.Conv2DTranspose(4, 3, strides=2),
        IMAGE,
    ),
    layers.Conv3DTranspose: (lambda: layers.Conv3DTranspose(2, 2), VOLUME),
}
PLAIN = {
    layers.AveragePooling1D: (
        lambda: layers.AveragePooling1D(3, padding="same"),
        LINE,
    ),
    layers.AveragePooling2D: (lambda: layers.AveragePooling2D(2), IMAGE),
    layers.AveragePooling3D: (lambda: layers.AveragePooling3D(2), VOLUME),
    layers.GlobalAveragePooling1D: (layers.GlobalAveragePooling1D, LINE),
    layers.GlobalAveragePooling2D: (layers.GlobalAveragePooling2D, IMAGE),
    layers.GlobalAveragePooling3D: (layers.GlobalAveragePooling3D, VOLUME),
    layers.Flatten: (layers.Flatten, IMAGE),
    layers.Reshape: (lambda: layers.Reshape((4, 6)), LINE),
    layers.Permute: (lambda: layers.Permute((2, 1)), LINE),
    layers.ZeroPadding1D: (layers.ZeroPadding1D, LINE),
    layers.ZeroPadding2D: (layers.ZeroPadding2D, IMAGE),
    layers.ZeroPadding3D: (layers.ZeroPadding3D, VOLUME),
    layers.Cropping1D: (layers.Cropping1D, LINE),
    layers.Cropping2D: (lambda: layers.Cropping2D(1), IMAGE),
    layers.Cropping3D: (layers.Cropping3D, VOLUME),
    layers.UpSampling1D: (layers.UpSampling1D, LINE),
    layers.UpSampling2D: (
        lambda: layers.UpSampling2D(interpolation="bilinear"),
        IMAGE,
    ),
    layers.UpSampling3D: (layers.UpSampling3D, VOLUME),
    layers.BatchNormalization: (layers.BatchNormalization, IMAGE),
    layers.Rescaling: (lambda: layers.Rescaling(0.5, 0.25), LINE),
    layers.Normalization: (adapted, LINE),
    layers.Identity: (layers.Identity, LINE),
}
JOINS = {
    layers.Add: (layers.Add, LINE),
    layers.Subtract: (layers.Subtract, LINE),
    layers.Average: (layers.Average, LINE),
    layers.Concatenate: (layers.Concatenate, LINE),
}


def randomize(model):
    """Give a model weights that are not 0."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype == "float32":
            low = 0.5 if "variance" in weight.path else -0.6
            weight.assign(rng.uniform(low, 1.0, weight.shape))
