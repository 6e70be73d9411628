"""Fusion of feature maps of different resolution."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras

from kbp._utils.types import Activation, Shape, Tensor
from kbp.layers.composite import Composite
from kbp.layers.nearest_up_sampling import NearestUpSampling2D


@keras.saving.register_keras_serializable(package="kbp")
class FeatureFusion(Composite):
    """Join feature maps of several scales at the finest of them.

    Each map `x_k` is projected by a 1x1 convolution `P_k`, then, from the
    coarsest to the finest, repeated (nearest neighbour) and added:

        y = act(P_1 x_1 + up(P_2 x_2 + up(P_3 x_3 + ...)))

    The result equals that of upsampling all maps, concatenating them and one
    1x1 convolution, but takes a fraction of the multiply-adds, because each
    projection runs at its map's own resolution.

    Args:
        filters: number of output channels.
        activation: name of an activation, or a function.
        batch_norm: whether each projection is normalized.
        **kwargs: `kernel_initializer` and `kernel_regularizer`, see
            `Composite`, and those of Keras's layers.

    Call arguments:
        inputs: list of two or more tensors `(batch, height_k, width_k,
            channels_k)`, the finest first; each size divides the one before.

    Returns:
        Tensor `(batch, height_1, width_1, filters)`.

    Raises:
        ValueError: fewer than two inputs, or sizes that are unknown or do not
            divide.

    Example:
    >>> import keras, kbp
    >>> fine = keras.ops.ones((1, 8, 8, 4))
    >>> coarse = keras.ops.ones((1, 4, 4, 6))
    >>> kbp.layers.FeatureFusion(16)([fine, coarse]).shape
    TensorShape([1, 8, 8, 16])
    """

    def __init__(
        self,
        filters: int,
        *,
        activation: Activation = "relu",
        batch_norm: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.activation = keras.activations.get(activation)
        self.batch_norm = batch_norm
        self.activate = keras.layers.Activation(
            self.activation, name=self.part("act"), dtype=self.dtype_policy
        )

    def build(self, input_shape: list[Shape]) -> None:
        if not isinstance(input_shape, list) or len(input_shape) < 2:
            raise ValueError(
                f"Layer {self.name} joins a list of two or more feature maps. "
                f"Received shapes: {input_shape}"
            )
        layers = keras.layers
        policy = self.dtype_policy
        self.projections, self.norms = [], []
        self.enlargements, self.adds = [], []
        for scale, shape in enumerate(input_shape):
            projection = layers.Conv2D(
                self.filters,
                1,
                use_bias=not self.batch_norm,
                name=self.part(f"projection_{scale}"),
                dtype=policy,
                **self.kernel_options,
            )
            projection.build(shape)
            self.projections.append(projection)
            if self.batch_norm:
                norm = layers.BatchNormalization(
                    momentum=0.9, name=self.part(f"norm_{scale}"), dtype=policy
                )
                norm.build((*shape[:-1], self.filters))
                self.norms.append(norm)
        for scale, (fine, coarse) in enumerate(itertools.pairwise(input_shape)):
            size = self.upsampling(fine, coarse)
            self.enlargements.append(
                NearestUpSampling2D(
                    size, name=self.part(f"enlarge_{scale}"), dtype=policy
                )
            )
            self.adds.append(
                layers.Add(name=self.part(f"add_{scale}"), dtype=policy)
            )

    def upsampling(self, fine: Shape, coarse: Shape) -> tuple[int, int]:
        """Return the factors of height and width between two maps."""
        _, height, width, _ = fine
        _, low, narrow, _ = coarse
        if (
            not (height and width and low and narrow)
            or height % low
            or width % narrow
        ):
            raise ValueError(
                f"Layer {self.name} needs maps of fixed sizes that divide "
                f"each other. Received sizes: {fine[1:3]} and {coarse[1:3]}"
            )
        return height // low, width // narrow

    def project(self, scale: int, inputs: Tensor) -> Tensor:
        """Project one map to the output's channels."""
        outputs = self.projections[scale](inputs)
        return self.norms[scale](outputs) if self.batch_norm else outputs

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        joined = self.project(len(inputs) - 1, inputs[-1])
        for scale in reversed(range(len(inputs) - 1)):
            fine = self.project(scale, inputs[scale])
            joined = self.enlargements[scale](joined)
            # (batch, height_k, width_k, filters)
            joined = self.adds[scale]([fine, joined])
        return self.activate(joined)

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        return (*input_shape[0][:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "activation": keras.activations.serialize(self.activation),
            "batch_norm": self.batch_norm,
        }
