"""The precision of weights."""

import keras


def check_float32(model: keras.Model) -> None:
    """Raise a ValueError if a model keeps weights in floats of other bits.

    Files of LiteRT and what quantizes hold float32. A mixed policy, such as
    "mixed_float16", computes in half precision with weights of float32.

    Args:
        model: a built model.

    Raises:
        ValueError: a weight is of another precision.

    Example:
    >>> import keras, kbp
    >>> half = keras.layers.Dense(2, dtype="float16", name="half")
    >>> model = keras.Sequential([keras.Input((4,)), half])
    >>> try:
    ...     kbp.graph.check_float32(model)
    ... except ValueError as error:
    ...     "half/kernel is of float16" in str(error)
    True
    """
    for weight in model.weights:
        dtype = keras.backend.standardize_dtype(weight.dtype)
        if "float" in dtype and dtype != "float32":
            raise ValueError(
                f"Weight {weight.path} is of {dtype}, and must be of float32: "
                'give its layer the dtype policy "float32", or one that only '
                'computes in half precision, such as "mixed_float16".'
            )
