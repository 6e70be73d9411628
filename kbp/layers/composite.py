"""A layer that can be unrolled into the primitive layers it is made of."""

from typing import Any

import keras

from kbp._utils.arguments import check_one_of

# Of kernels, as Keras names them.
GLOROT = "glorot_uniform"
INITIALIZERS = (GLOROT, "glorot_normal", "he_uniform", "he_normal")


class Composite(keras.layers.Layer):
    """Base of layers whose `call` uses Keras layers and `keras.ops` alone.

    Such a layer is one row of `model.summary()`. When it is called on symbolic
    tensors, its `call` records ordinary Keras nodes: `kbp.graph.flatten`
    unrolls every composite of a model in this way, so pruning and quantization
    need to know primitive layers only.

    Subclasses hold no variables of their own, and name each sub-layer with
    `part`, so that names stay unique once the layer is unrolled. Those with
    kernels take `kernel_options`.

    Args:
        kernel_initializer: name of one of `INITIALIZERS`.
        kernel_regularizer: of Keras's, for all kernels of the layer.
        **kwargs: of Keras's layers.
    """

    def __init__(
        self,
        *,
        kernel_initializer: str = GLOROT,
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_one_of(INITIALIZERS, kernel_initializer=kernel_initializer)
        self.kernel_initializer = kernel_initializer
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    @property
    def kernel_options(self) -> dict[str, Any]:
        """What sub-layers with a kernel are made with.

        By its name, because an initializer draws the same numbers again.
        """
        return {
            "kernel_initializer": self.kernel_initializer,
            "kernel_regularizer": self.kernel_regularizer,
        }

    def part(self, name: str) -> str:
        """Return the name of a sub-layer: `<layer>_<name>`."""
        return f"{self.name}_{name}"

    def get_config(self) -> dict[str, Any]:
        # Usual values are left out, so that models keep the bytes that they
        # had before there were others.
        config = super().get_config()
        if self.kernel_initializer != GLOROT:
            config["kernel_initializer"] = self.kernel_initializer
        if self.kernel_regularizer is not None:
            config["kernel_regularizer"] = keras.regularizers.serialize(
                self.kernel_regularizer
            )
        return config
