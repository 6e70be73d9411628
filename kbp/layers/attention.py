"""Multi-head self-attention with a residual connection."""

from typing import Any

import keras
from keras import ops

from kbp._utils.arguments import check_integer
from kbp._utils.types import Shape, Tensor
from kbp.layers.branch import Branch

# As Keras's initializers of these names have them.
_VARIANCES = {"glorot": (1.0, "fan_avg"), "he": (2.0, "fan_in")}
_DISTRIBUTIONS = {"normal": "truncated_normal", "uniform": "uniform"}


@keras.saving.register_keras_serializable(package="kbp")
class SelfAttention(Branch):
    """Multi-head self-attention, added to its input.

        y = MultiHead(W_Q a, W_K a, W_V a) + a

    with `MultiHead = Concat(softmax(Q_h K_h^T) V_h) W_O` of Vaswani et al.
    The usual factor `1 / sqrt(head size)` of the scores is not an operation
    of its own: it lies in the initial scale of the query's kernel, so that
    no operation comes between the quantized tensors and the exported file
    holds integer operations alone.

    Args:
        num_heads: number of heads; it divides the number of features.
        **kwargs: rates `dropout` and `stochastic_depth` of what is added to the
            input in training, see `Branch`; `kernel_initializer` and
            `kernel_regularizer`, see `Composite`; and those of Keras's layers.

    Call arguments:
        inputs: tensor `(batch, time, features)`, `time` fixed.

    Returns:
        Tensor `(batch, time, features)`.

    Raises:
        ValueError: the heads do not divide the features, or a size is
            unknown.

    Example:
    >>> import keras, kbp
    >>> kbp.layers.SelfAttention(2)(keras.ops.ones((3, 5, 8))).shape
    TensorShape([3, 5, 8])

    Reference:
        Vaswani et al., Attention Is All You Need, 2017.
    """

    def __init__(self, num_heads: int, **kwargs: Any):
        super().__init__(**kwargs)
        check_integer(num_heads=num_heads)
        self.num_heads = num_heads
        self.softmax = keras.layers.Softmax(
            name=self.part("softmax"), dtype=self.dtype_policy
        )
        self.add = keras.layers.Add(
            name=self.part("add"), dtype=self.dtype_policy
        )

    def build(self, input_shape: Shape) -> None:
        _, self.time, features = input_shape
        if self.time is None or features is None:
            raise ValueError(
                f"Layer {self.name} needs a fixed number of time steps and of "
                f"features. Received input shape: {tuple(input_shape)}"
            )
        if features % self.num_heads:
            raise ValueError(
                "Argument `num_heads` must divide the features. Received: "
                f"num_heads={self.num_heads}, features={features}"
            )
        self.head_size = features // self.num_heads
        self.query, self.key, self.value, self.output_dense = (
            self.dense(name, features, input_shape)
            for name in ("query", "key", "value", "output")
        )
        self.build_drops(input_shape)

    def dense(
        self, name: str, features: int, input_shape: Shape
    ) -> keras.layers.Layer:
        """Return a built projection of the inputs."""
        family, shape = self.kernel_initializer.split("_")
        scale, fan = _VARIANCES[family]
        if name == "query":  # whose deviation is smaller by sqrt(head size)
            scale /= self.head_size
        layer = keras.layers.Dense(
            features,
            kernel_initializer=keras.initializers.VarianceScaling(
                scale, fan, _DISTRIBUTIONS[shape]
            ),
            kernel_regularizer=self.kernel_regularizer,
            name=self.part(name),
            dtype=self.dtype_policy,
        )
        layer.build(input_shape)
        return layer

    def split(self, x: Tensor) -> Tensor:
        """Move the heads to an axis of their own, if there are several."""
        if self.num_heads == 1:
            return x
        x = ops.reshape(x, (-1, self.time, self.num_heads, self.head_size))
        return ops.transpose(x, (0, 2, 1, 3))  # (batch, heads, time, size)

    def join(self, x: Tensor) -> Tensor:
        """Concatenate the heads, `(batch, time, features)`."""
        if self.num_heads == 1:
            return x
        x = ops.transpose(x, (0, 2, 1, 3))
        return ops.reshape(x, (-1, self.time, self.num_heads * self.head_size))

    def call(self, inputs: Tensor) -> Tensor:
        query, key, value = (
            self.split(layer(inputs))
            for layer in (self.query, self.key, self.value)
        )
        *others, time, size = range(len(key.shape))
        key = ops.transpose(key, (*others, size, time))
        weights = self.softmax(ops.matmul(query, key))
        context = self.join(ops.matmul(weights, value))
        branch = self.dropped(self.output_dense(context))
        return self.add([branch, inputs])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_heads": self.num_heads}
