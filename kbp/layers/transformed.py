"""A layer whose kernel passes through transforms before it is used."""

from collections.abc import Sequence
from typing import Any, Self

import keras
from keras import ops

from kbp._utils.types import Shape, Tensor
from kbp.layers.transforms.kernel_transform import KernelTransform


@keras.saving.register_keras_serializable(package="kbp")
class TransformedLayer(keras.layers.Wrapper):
    """Run a layer on a transformed kernel.

    Masks, gradient bounds and fake quantization are all transforms: the kernel
    `W` is replaced by `W' = t_n(... t_1(W))`, then the layer's own `call` runs
    on `W'`, whatever the layer's class.

    Only layers without state of their own can be wrapped: updates of a
    BatchNormalization or Dropout inside the wrapper would be lost. A layer with
    several kernels takes several wrappers, one around the other.

    Args:
        layer: the Keras layer to wrap, e.g. `keras.layers.Dense(10)`.
        transforms: transforms of the kernel, in the order of application.
        kernel: name of the layer's attribute that holds the kernel.
        **kwargs: `name`, which is the wrapped layer's by default.

    Call arguments:
        inputs: one tensor, as the wrapped layer takes it.
        training: bool, passed on to the transforms.
        **options: other arguments of the wrapped layer's call.

    Returns:
        What the wrapped layer returns.

    Raises:
        ValueError: the layer has non-trainable variables, or no such kernel.

    Example:
    >>> import keras, kbp
    >>> dense = keras.layers.Dense(3)
    >>> masked = kbp.layers.TransformedLayer(dense, [kbp.layers.DTM()])
    >>> masked(keras.ops.ones((2, 5))).shape
    TensorShape([2, 3])
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        transforms: Sequence[KernelTransform],
        *,
        kernel: str = "kernel",
        **kwargs: Any,
    ):
        kwargs.setdefault("name", layer.name)
        # Transforms see the stored kernel; the wrapped layer casts by itself.
        kwargs |= {"dtype": layer.variable_dtype, "autocast": False}
        super().__init__(layer, **kwargs)
        self.supports_masking = layer.supports_masking
        self.transforms = list(transforms)
        self.kernel_attribute = kernel

    @property
    def kernel(self) -> keras.Variable:
        """The wrapped layer's own kernel, before any transform."""
        return getattr(self.innermost, self.kernel_attribute)

    @property
    def innermost(self) -> keras.layers.Layer:
        """The layer inside, also of several wrappers around each other."""
        layer = self.layer
        while isinstance(layer, TransformedLayer):
            layer = layer.layer
        return layer

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        if not hasattr(self.innermost, self.kernel_attribute):
            raise ValueError(
                f"Layer {self.layer.name} has no attribute "
                f"`{self.kernel_attribute}` to transform."
            )
        inside = self.innermost
        if inside.non_trainable_variables and inside.trainable:
            raise ValueError(
                f"Layer {self.layer.name} updates state of its own, which a "
                "TransformedLayer would discard. Wrap the layers inside it."
            )
        for transform in self.transforms:
            if not transform.built:
                transform.build(tuple(self.kernel.shape))
                transform.built = True

    def transformed_kernel(
        self, training: bool = False, inputs: Tensor | None = None
    ) -> Tensor:
        """Return the kernel as the wrapped layer uses it."""
        kernel = ops.convert_to_tensor(self.kernel)
        for transform in self.transforms:
            more = {"inputs": inputs} if transform.reads_inputs else {}
            kernel = transform(kernel, training=training, **more)
        return kernel

    def replacements(self, inputs: Tensor, training: bool) -> dict[int, Tensor]:
        """Return the transformed kernels by the ids of their variables."""
        layer, found = self, {}
        while isinstance(layer, TransformedLayer):
            found[id(layer.kernel)] = layer.transformed_kernel(training, inputs)
            layer = layer.layer
        return found

    def call(
        self, inputs: Tensor, training: bool = False, **options: Any
    ) -> Tensor:
        return self.run(inputs, self.replacements(inputs, training), **options)

    def run(
        self, inputs: Tensor, used: dict[int, Tensor], **options: Any
    ) -> Tensor:
        """Call the layer inside with other tensors for its variables."""
        # Every variable is mapped, because this scope hides an outer one: on
        # JAX, `fit` runs inside a StatelessScope of its own.
        mapping = [
            (v, used.get(id(v), ops.convert_to_tensor(v)))
            for v in self.innermost.variables
        ]
        scope = keras.StatelessScope(mapping, collect_losses=True)
        with scope:
            outputs = self.innermost(inputs, **options)
        self.pass_on(scope)
        return outputs

    def pass_on(self, scope: keras.StatelessScope) -> None:
        """Keep what the layer inside adds to the loss, as of its activity."""
        outer = scope.original_scope
        if outer is None:
            self.add_loss(scope.losses)
        elif outer.collect_losses:
            # The layer inside knows them as its own: once is enough.
            for loss in scope.losses:
                outer.add_loss(loss)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        # A user's layer may have no `compute_output_shape` of its own.
        inputs = keras.KerasTensor(input_shape, dtype=self.compute_dtype)
        return self.innermost.compute_output_spec(inputs).shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "transforms": [
                keras.saving.serialize_keras_object(t) for t in self.transforms
            ],
            "kernel": self.kernel_attribute,
        }

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        custom_objects: dict[str, Any] | None = None,
    ) -> Self:
        config = dict(config)
        for key in ("layer", "transforms"):
            config[key] = keras.saving.deserialize_keras_object(
                config[key], custom_objects=custom_objects
            )
        return cls(**config)
