"""Which tensors of a model meet a quantizer, told from the layers' traits.

LiteRT computes a convolution, its bias, a folded BatchNormalization and a
ReLU as one integer operation, so fake quantization stands behind the whole
pattern and not inside it. Same-scale operations keep the scale of their input.
Every other result is quantized once. How the result of a class of layers is
rounded is one of its `kbp.graph.LayerTraits`.
"""

from collections.abc import Container

import keras

from kbp.graph import Node, traits_of

layers = keras.layers


def is_model_input(x: keras.KerasTensor) -> bool:
    """Say whether a tensor is an input of its model."""
    return isinstance(x._keras_history.operation, layers.InputLayer)


def copies(operation: keras.Operation) -> bool:
    """Say whether a result has the values of the input, so its scale."""
    return traits_of(operation).rounding == "copied"


def averages(operation: keras.Operation) -> bool:
    """Say whether a result has new values, but the scale of the input."""
    return traits_of(operation).rounding in ("averaged", "interpolated")


def is_same_scale(operation: keras.Operation) -> bool:
    """Say whether LiteRT demands one scale of an input and the result."""
    return copies(operation) or averages(operation)


def joins(operation: keras.Operation) -> bool:
    """Say whether a result has values of several inputs, of one scale."""
    return traits_of(operation).rounding == "joined"


def finds_places(operation: keras.Operation) -> bool:
    """Say whether a result is where values are, as indices."""
    return traits_of(operation).rounding == "indices"


def takes_units(operation: keras.Operation) -> bool:
    """Say whether a layer takes or gives the data's own units, in float."""
    return traits_of(operation).rounding == "float"


def computes_in_float(operation: keras.Operation) -> bool:
    """Say whether a layer stays in float whatever a person says."""
    return traits_of(operation).rounding in ("compared", "float")


def is_float(x: object) -> bool:
    """Say whether something is a tensor of floats, which have a range."""
    return isinstance(x, keras.KerasTensor) and keras.backend.is_float_dtype(
        x.dtype
    )


def is_of_integers(node: Node) -> bool:
    """Say whether an operation computes with integers and truths alone.

    LiteRT computes these as Keras does.
    """
    return not isinstance(node.operation, layers.Layer) and not any(
        map(is_float, (*node.inputs, *node.outputs))
    )


def drops_values(node: Node) -> bool:
    """Say whether indices of values are used, and the values are not.

    LiteRT's converter then knows no range of these values, and leaves the
    operation in float.
    """
    return copies(node.operation) and not any(
        map(is_float, node.used or node.outputs)
    )


def kind(node: Node) -> str:
    """Return the kind of the `FakeQuantize` that rounds a result.

    What a model answers is never cut off: a moving average of batches' ranges
    would lose the greatest values, which a regression is about.
    """
    beside = (node, *node.consumers)
    whole = any(traits_of(other.operation).whole_range for other in beside)
    return "input" if whole or is_answer(node) else "tensor"


def is_answer(node: Node) -> bool:
    """Say whether a result is an output of the model, perhaps moved first."""
    return node.is_output or any(
        copies(other.operation) and is_answer(other) for other in node.consumers
    )


def is_linear(operation: keras.Operation) -> bool:
    """Say whether a layer has no activation of its own."""
    linear = keras.activations.linear
    return getattr(operation, "activation", linear) is linear


def check(node: Node) -> None:
    """Raise a ValueError where the rules do not cover a use of a layer."""
    problem = _problem(node)
    if problem:
        raise refusal(node.operation, problem)


def check_inputs(node: Node) -> None:
    """Raise a ValueError where a layer is given numbers of a wrong type."""
    traits = traits_of(node.operation)
    floats = [is_float(x) for x in node.inputs[traits.chooses :]]
    if traits.reads_indices:
        if any(floats):
            raise refusal(node.operation, "give its Input dtype='int32'")
    elif is_of_integers(node) or not any(map(is_float, node.outputs)):
        return
    elif not all(floats) and not copies(node.operation):
        masked = any(x.dtype == "bool" for x in node.inputs)
        raise refusal(
            node.operation,
            "it reads a mask of time steps, which eight bits have none of: "
            "leave out mask_zero=True and Masking"
            if masked
            else "give the Input dtype='float32'",
        )


def refusal(operation: keras.Operation, problem: str) -> ValueError:
    """Return the error that names a layer and what to do about it."""
    return ValueError(
        f"Layer {operation.name} ({type(operation).__name__}) cannot be "
        f"quantized: {problem}; or leave it in float with "
        f"skip=[{operation.name!r}]."
    )


def fuses_forward(node: Node) -> bool:
    """Say whether the next operation takes this one's result unrounded."""
    if node.successor is None:
        return False
    traits, following = traits_of(node.operation), node.successor.operation
    if type(following) is layers.BatchNormalization:
        return traits.batch_norm == "converter" and is_linear(node.operation)
    return type(following) is layers.ReLU and traits.fuses_relu


def parts_for_average(node: Node) -> bool:
    """Say whether moved values are averaged, and go elsewhere besides.

    They are rounded once more, which changes none of them: else LiteRT's
    converter takes their range for the average, and what else reads them stays
    in float.

    Args:
        node: a use of a layer.
    """
    following = [use.operation for use in node.consumers]
    return (
        copies(node.operation)
        and len(following) > 1
        and any(map(averages, following))
    )


def clips_beside_others(node: Node) -> bool:
    """Say whether a ReLU reads a matrix product that goes elsewhere besides.

    LiteRT's converter computes that product once more with the ReLU in it, and
    rounds it once; with the scale of the other one both are the same values.

    Args:
        node: a use of a layer.
    """
    before, parts = node, False
    while before is node or copies(before.operation):
        if len(before.producers) != 1:
            return False
        (before,) = before.producers
        parts = parts or before.is_output or len(before.consumers) > 1
    return (
        parts
        and type(node.operation) is layers.ReLU
        and isinstance(before.operation, layers.Dense | layers.EinsumDense)
    )


def demanded_range(
    operation: keras.Operation,
) -> tuple[float, float] | None:
    """Return the range that LiteRT demands of a result, if it does.

    What rounds its inputs by itself gives values of its fixed range in floats,
    which a join may round to another one.
    """
    traits = traits_of(operation)
    return None if traits.rounds_inputs else traits.fixed_range


def is_rounded_as_joined(
    node: Node, chosen: Container[keras.Operation]
) -> bool:
    """Say whether a result is joined with others alone, perhaps moved first.

    LiteRT demands one range for the inputs and the output of a concatenation,
    and of a maximum. Rounding the output alone gives all of them its range. A
    join's own result may have values that are rounded already, so it is never
    left to the next one.

    Args:
        node: a use of a layer.
        chosen: layers that the user has decided about.
    """
    following = node.successor
    if (
        following is None
        or following.operation in chosen
        or joins(node.operation)
    ):
        return False
    if copies(following.operation):
        # Where the greatest are depends on how they are rounded.
        moved = all(map(is_float, following.outputs))
        return moved and is_rounded_as_joined(following, chosen)
    return joins(following.operation)


def _problem(node: Node) -> str | None:
    """Return what to change about a use of a layer, `None` if nothing."""
    operation, traits = node.operation, traits_of(node.operation)
    if any(x.dtype == "float64" for x in node.outputs):
        return "use Python numbers, which do not make its result float64"
    if type(operation) is layers.BatchNormalization:
        found = node.producers and fuses_forward(node.producers[0])
        return None if found else "normalize the last axis"
    if is_of_integers(node):
        return None
    problem = traits.problem(node) if traits.problem else None
    if problem or traits.rounding:
        return problem
    return (
        "no 8-bit rule covers it; register its traits with "
        "kbp.graph.register_layer_traits, give `configs` a QuantizeConfig of "
        "it, replace it by layers that have traits"
    )
