"""A layer that can be unrolled into the primitive layers it is made of."""

import keras


class Composite(keras.layers.Layer):
    """Base of layers whose `call` uses Keras layers and `keras.ops` alone.

    Such a layer is one row of `model.summary()`. When it is called on symbolic
    tensors, its `call` records ordinary Keras nodes: `kbp.graph.flatten`
    unrolls every composite of a model in this way, so pruning and quantization
    need to know primitive layers only.

    Subclasses hold no variables of their own, and name each sub-layer with
    `part`, so that names stay unique once the layer is unrolled.
    """

    def part(self, name: str) -> str:
        """Return the name of a sub-layer: `<layer>_<name>`."""
        return f"{self.name}_{name}"
