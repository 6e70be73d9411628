"""Keras's multi-head attention in terms of layers that have 8-bit rules."""

from collections.abc import Callable
from typing import Any

from keras import layers, ops

from kbp import graph
from kbp.quantization.lowering.primitives import Part
from kbp.quantization.placement import rules


def attention(
    layer: layers.MultiHeadAttention, part: Part
) -> Callable[..., Any]:
    """Take a MultiHeadAttention apart.

    The factor `1 / sqrt(key_dim)` goes into the query's kernel: between two
    rounded tensors it would be an operation of its own.

    Args:
        layer: built, without masks, gate and window.
        part: makes new layers, see `kbp.quantization.lowering.primitives`.

    Returns:
        What to call in its place; it holds new layers with the same weights.

    Raises:
        ValueError: the layer has more to it, or is called with a mask.
    """
    config = layer.get_config()
    if config["use_gate"] or config["sliding_window"]:
        raise rules.refusal(layer, "use no gate and no sliding window")
    time, key_time = (
        getattr(layer, f"{name}_dense").get_build_config()["input_shape"][1]
        for name in ("query", "key")
    )
    query, key, value, output = (
        _projection(layer, part, name, steps)
        for name, steps in (
            ("query", time),
            ("key", key_time),
            ("value", key_time),
            ("output", time),
        )
    )
    factor = config["key_dim"] ** -0.5
    for weight in query.weights:
        graph.multiply(query, weight, factor)
    if query.activity_regularizer:
        query.activity_regularizer = graph.ScaledRegularizer(
            query.activity_regularizer, 1 / factor
        )
    softmax = part(layers.Softmax, "softmax")
    dropout = part(layers.Dropout, "dropout", config["dropout"])

    def attend(query_inputs: Any, value_inputs: Any, key_inputs: Any) -> Any:
        q = ops.transpose(query(query_inputs), (0, 2, 1, 3))
        k = ops.transpose(key(key_inputs), (0, 2, 3, 1))
        v = ops.transpose(value(value_inputs), (0, 2, 1, 3))
        weights = dropout(softmax(ops.matmul(q, k)))
        # (batch, heads, time, value_dim)
        context = ops.transpose(ops.matmul(weights, v), (0, 2, 1, 3))
        return output(context)

    def apply(query: Any, value: Any, key: Any = None, **options: Any) -> Any:
        if any(options.values()):
            raise rules.refusal(layer, "call it without masks and scores")
        if len(query.shape) != 3 or len(value.shape) != 3:
            raise rules.refusal(layer, "attend along one axis")
        key = value if key is None else key
        steps = [x.shape[1] for x in (query, key, value)]
        if steps != [time, key_time, key_time]:
            raise rules.refusal(layer, "call it with one number of steps")
        return attend(query, value, key)

    return apply


def _projection(
    layer: layers.MultiHeadAttention, part: Part, name: str, time: int | None
) -> layers.EinsumDense:
    """Return a new layer with the weights of one inside an attention."""
    dense = getattr(layer, f"{name}_dense")
    batch, _, *inputs = dense.get_build_config()["input_shape"]
    config = dense.get_config()
    # Keras leaves the number of steps open even where it is known.
    config["output_shape"] = (time, *config["output_shape"][1:])
    new = part(layers.EinsumDense.from_config, name, config)
    new.build((batch, time, *inputs))
    graph.copy_weights(dense, new)
    return new
