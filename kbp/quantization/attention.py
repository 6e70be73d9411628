"""Keras's multi-head attention in terms of layers that have 8-bit rules."""

from collections.abc import Callable

from keras import layers, ops

from kbp import graph
from kbp.quantization import rules


def attention(layer: layers.MultiHeadAttention) -> Callable:
    """Take a MultiHeadAttention apart.

    The factor `1 / sqrt(key_dim)` goes into the query's kernel: between two
    rounded tensors it would be an operation of its own.

    Args:
        layer: built, without masks, gate and window.

    Returns:
        What to call in its place; it holds new layers with the same weights.

    Raises:
        ValueError: the layer has more to it, or is called with a mask.
    """
    config = layer.get_config()
    if config["use_gate"] or config["sliding_window"]:
        raise rules.refusal(layer, "use no gate and no sliding window")
    time, key_time = (
        getattr(layer, f"{part}_dense").get_build_config()["input_shape"][1]
        for part in ("query", "key")
    )
    query, key, value, output = (
        _copy(layer, part, steps)
        for part, steps in (
            ("query", time),
            ("key", key_time),
            ("value", key_time),
            ("output", time),
        )
    )
    for weight in query.weights:
        weight.assign(weight * config["key_dim"] ** -0.5)
    softmax = layers.Softmax(name=f"{layer.name}_softmax")
    dropout = layers.Dropout(config["dropout"], name=f"{layer.name}_dropout")

    def attend(query_inputs, value_inputs, key_inputs):
        q = ops.transpose(query(query_inputs), (0, 2, 1, 3))
        k = ops.transpose(key(key_inputs), (0, 2, 3, 1))
        v = ops.transpose(value(value_inputs), (0, 2, 1, 3))
        weights = dropout(softmax(ops.matmul(q, k)))
        # (batch, heads, time, value_dim)
        context = ops.transpose(ops.matmul(weights, v), (0, 2, 1, 3))
        return output(context)

    def apply(query, value, key=None, **options):
        if any(options.values()):
            raise rules.refusal(layer, "call it without masks and scores")
        if len(query.shape) != 3 or len(value.shape) != 3:
            raise rules.refusal(layer, "attend along one axis")
        return attend(query, value, value if key is None else key)

    return apply


def _copy(layer, part, time):
    """Return a new layer with the weights of one inside an attention."""
    dense = getattr(layer, f"{part}_dense")
    batch, _, *inputs = dense.get_build_config()["input_shape"]
    _, *outputs = dense.get_config()["output_shape"]
    # Keras leaves the number of steps open even where it is known.
    new = graph.copy(
        dense, name=f"{layer.name}_{part}", output_shape=(time, *outputs)
    )
    new.build((batch, time, *inputs))
    graph.carry_weights(dense, new)
    return new
