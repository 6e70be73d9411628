"""Residual layers whose skip spans two layers."""

from typing import Any

import keras

from kbp._utils.types import Activation, Shape, Tensor
from kbp.layers.branch import Branch
from kbp.layers.transforms.path_norm import bounded


class Residual(Branch):
    """Base of `ResidualDense` and `ResidualConv2D`.

        a(l) = act(W a(l-1) + b) + a(l-2)

    Subclasses make the layer `main` and the projection of the skip.
    """

    main: keras.layers.Layer

    def __init__(
        self,
        activation: Activation,
        batch_norm: bool,
        path_norm_bound: float | None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.path_norm_bound = path_norm_bound
        self.activation = keras.activations.get(activation)
        self.batch_norm = batch_norm
        policy = self.dtype_policy
        self.normalization = (
            keras.layers.BatchNormalization(
                momentum=0.9, name=self.part("norm"), dtype=policy
            )
            if batch_norm
            else None
        )
        self.activate = keras.layers.Activation(
            self.activation, name=self.part("act"), dtype=policy
        )
        self.add = keras.layers.Add(name=self.part("add"), dtype=policy)
        self.projection: keras.layers.Layer | None = None

    def call(self, inputs: Tensor, skip: Tensor) -> Tensor:
        outputs = self.main(inputs)
        if self.normalization is not None:
            outputs = self.normalization(outputs)
        if self.projection is not None:
            skip = self.projection(skip)
        return self.add([self.dropped(self.activate(outputs)), skip])

    def build(self, inputs_shape: Shape, skip_shape: Shape) -> None:
        self.main.build(inputs_shape)
        shape = self.main.compute_output_shape(inputs_shape)
        if self.normalization is not None:
            self.normalization.build(shape)
        if tuple(shape[1:]) != tuple(skip_shape[1:]):
            self.projection = self.make_projection(shape, skip_shape)
            self.projection.build(skip_shape)
        self.activate.build(shape)
        self.build_drops(shape)
        self.add.build([shape, shape])

    def make_projection(
        self, shape: Shape, skip_shape: Shape
    ) -> keras.layers.Layer:
        """Return a linear layer from the skip's shape to the output's."""
        raise NotImplementedError

    def compute_output_shape(
        self, inputs_shape: Shape, skip_shape: Shape
    ) -> Shape:
        return self.main.compute_output_shape(inputs_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "batch_norm": self.batch_norm,
            "path_norm_bound": self.path_norm_bound,
        }


@keras.saving.register_keras_serializable(package="kbp")
class ResidualDense(Residual):
    """A dense layer with a skip over two layers.

        a(l) = act(W a(l-1) + b) + a(l-2)

    Where the widths differ, the skip passes through a linear projection
    without bias: `a(l) = act(W a(l-1) + b) + P a(l-2)`.

    Args:
        units: size of the output.
        activation: name of an activation, or a function.
        batch_norm: whether outputs are normalized before the activation.
        path_norm_bound: `gamma` of a `PathNormBound` on the gradient of `W`,
            or `None`.
        **kwargs: rates `dropout` and `stochastic_depth` of the branch in
            training, see `Branch`; `kernel_initializer` and
            `kernel_regularizer`, see `Composite`; and those of Keras's layers.

    Call arguments:
        inputs: `a(l-1)`, tensor `(..., features)`.
        skip: `a(l-2)`, tensor `(..., skip_features)`.

    Returns:
        Tensor `(..., units)`.

    Raises:
        ValueError: `units` is not positive.

    Example:
    >>> import keras, kbp
    >>> x = keras.ops.ones((2, 8))
    >>> hidden = keras.layers.Dense(16, activation="relu")(x)
    >>> kbp.layers.ResidualDense(8)(hidden, x).shape
    TensorShape([2, 8])

    Reference:
        He et al., Deep Residual Learning for Image Recognition, 2016.
    """

    def __init__(
        self,
        units: int,
        *,
        activation: Activation = "relu",
        batch_norm: bool = False,
        path_norm_bound: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(activation, batch_norm, path_norm_bound, **kwargs)
        self.units = units
        dense = self.dense("dense", use_bias=not batch_norm)
        self.main = bounded(dense, path_norm_bound)

    def dense(self, name: str, *, use_bias: bool) -> keras.layers.Layer:
        """Return a dense layer of the output's size."""
        return keras.layers.Dense(
            self.units,
            use_bias=use_bias,
            name=self.part(name),
            dtype=self.dtype_policy,
            **self.kernel_options,
        )

    def make_projection(
        self, shape: Shape, skip_shape: Shape
    ) -> keras.layers.Layer:
        return self.dense("projection", use_bias=False)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="kbp")
class ResidualConv2D(Residual):
    """A convolution (padding "same") with a skip over two layers.

        a(l) = act(W * a(l-1) + b) + a(l-2)

    Where channels or sizes differ, the skip passes through a strided 1x1
    convolution without bias.

    Args:
        filters: number of output channels.
        kernel_size: int or pair, in pixels.
        strides: int, in pixels.
        activation: name of an activation, or a function.
        batch_norm: whether outputs are normalized before the activation.
        path_norm_bound: `gamma` of a `PathNormBound` on the gradient of `W`,
            or `None`.
        **kwargs: rates `dropout` and `stochastic_depth` of the branch in
            training, see `Branch`; `kernel_initializer` and
            `kernel_regularizer`, see `Composite`; and those of Keras's layers.

    Call arguments:
        inputs: `a(l-1)`, tensor `(batch, height, width, channels)`.
        skip: `a(l-2)`, tensor `(batch, height', width', channels')`.

    Returns:
        Tensor `(batch, height / strides, width / strides, filters)`.

    Raises:
        ValueError: the skip's size is no multiple of the output's.

    Example:
    >>> import keras, kbp
    >>> x = keras.ops.ones((1, 8, 8, 4))
    >>> hidden = keras.layers.Conv2D(6, 3, padding="same")(x)
    >>> kbp.layers.ResidualConv2D(6, strides=2)(hidden, x).shape
    TensorShape([1, 4, 4, 6])

    Reference:
        He et al., Deep Residual Learning for Image Recognition, 2016.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int] = 3,
        *,
        strides: int = 1,
        activation: Activation = "relu",
        batch_norm: bool = False,
        path_norm_bound: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(activation, batch_norm, path_norm_bound, **kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        convolution = self.convolution(
            "conv", kernel_size, strides, use_bias=not batch_norm
        )
        self.main = bounded(convolution, path_norm_bound)

    def convolution(
        self,
        name: str,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, ...],
        *,
        use_bias: bool,
    ) -> keras.layers.Layer:
        """Return a convolution to the output's channels."""
        return keras.layers.Conv2D(
            self.filters,
            kernel_size,
            strides=strides,
            padding="same",
            use_bias=use_bias,
            name=self.part(name),
            dtype=self.dtype_policy,
            **self.kernel_options,
        )

    def make_projection(
        self, shape: Shape, skip_shape: Shape
    ) -> keras.layers.Layer:
        strides = self.skip_strides(shape, skip_shape)
        return self.convolution("projection", 1, strides, use_bias=False)

    def skip_strides(self, shape: Shape, skip_shape: Shape) -> tuple[int, ...]:
        """Return the strides that make the skip as large as the output."""
        strides = []
        for size, skip_size in zip(shape[1:3], skip_shape[1:3], strict=True):
            if size is None or skip_size is None:
                strides.append(self.strides)
            elif -(-skip_size // max(1, skip_size // size)) == size:
                strides.append(max(1, skip_size // size))
            else:
                raise ValueError(
                    f"The skip of layer {self.name} must be as large as its "
                    "output or a multiple of it. Received: output "
                    f"{tuple(shape[1:3])}, skip {tuple(skip_shape[1:3])}"
                )
        return tuple(strides)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
        }
