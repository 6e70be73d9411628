"""Models without layers of layers, and what separable layers hold."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kbp._compat import mask_of
from kbp.graph.layers import copy_variable, unwrapped
from kbp.graph.rewriting import (
    as_functional,
    in_class_of,
    is_functional,
    name_operations,
    rewrite,
)
from kbp.layers import Composite


def flatten(model: keras.Model) -> keras.Model:
    """Unroll composite layers and nested models into primitive layers.

    Inputs of a dictionary get its keys as their names.

    Args:
        model: a functional or built Sequential model.

    Returns:
        A functional model that shares every layer and weight with `model`.

    Raises:
        ValueError: the model is subclassed, or not built yet, or layers of
            nested models have equal names.

    Example:
    >>> import keras, kbp
    >>> inputs = keras.Input((5, 4))
    >>> x = kbp.layers.SelfAttention(2, name="attention")(inputs)
    >>> flat = kbp.graph.flatten(keras.Model(inputs, x))
    >>> any(layer.name == "attention" for layer in flat.layers)
    False
    """
    model = _named_by_keys(as_functional(model))
    found = True

    def unroll(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        # `call` leaves the nodes of the layers inside, `__call__` one node.
        nonlocal found
        if _is_distributed(layer, *args, **kwargs):
            outputs = _distribute(layer, *args)
        elif isinstance(layer, Composite | keras.Sequential) or (
            is_functional(layer)
        ):
            outputs = layer.call(*args, **kwargs)
        else:
            return layer(*args, **kwargs)
        found = True
        if not isinstance(layer, keras.Model):
            name_operations(layer.name, (args, kwargs), outputs)
        return outputs

    while found:
        found = False
        try:
            unrolled = rewrite(model, call=unroll)
        except ValueError as error:
            if "names should be unique" not in str(error):
                raise
            raise ValueError(
                f"Model {model.name} cannot be unrolled: layers of its nested "
                f"models have equal names. Give each its own. {error}"
            ) from error
        model = unrolled if found else model
    return model


def _is_distributed(layer: keras.Operation, *args: Any, **kwargs: Any) -> bool:
    """Say whether the steps can be taken for examples."""
    return (
        type(layer) is keras.layers.TimeDistributed
        and kwargs.get("mask") is None
        and len(args) == 1
        and isinstance(args[0], keras.KerasTensor)
        and (
            _is_dense(layer)
            or (None not in args[0].shape[1:] and mask_of(args[0]) is None)
        )
    )


def _is_dense(layer: keras.layers.TimeDistributed) -> bool:
    return isinstance(unwrapped(layer.layer), keras.layers.Dense)


def _distribute(
    layer: keras.layers.TimeDistributed, inputs: keras.KerasTensor
) -> Any:
    """Take steps for examples: what is inside sees each for itself."""
    if _is_dense(layer):
        return layer.layer(inputs)  # which treats each position alone
    _, time, *sizes = inputs.shape
    outputs = layer.layer(ops.reshape(inputs, (-1, *sizes)))
    return keras.tree.map_structure(
        lambda x: ops.reshape(x, (-1, time, *x.shape[1:])), outputs
    )


def _named_by_keys(model: keras.Model) -> keras.Model:
    """Return a model whose inputs have the names they are given by."""
    given = model.input
    if not isinstance(given, dict) or len(given) != len(model.inputs):
        return model
    if all(x.name == key for key, x in given.items()):
        return model
    inputs = {
        key: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=key)
        for key, x in given.items()
    }
    named = keras.Model(inputs, model(inputs), name=model.name)
    return in_class_of(model, named)


def split_separable(
    layer: keras.layers.Layer, part: Callable[..., keras.layers.Layer]
) -> tuple[keras.layers.Layer, keras.layers.Layer]:
    """Return the two convolutions that a separable one is made of.

    Args:
        layer: a built SeparableConv1D or SeparableConv2D.
        part: `part(kind, suffix, **options)` makes a layer of the same
            precision, and of the same name with a suffix, or `None` for none.

    Returns:
        One by depth, then one of single places, with the bias and activation.

    Example:
    >>> import keras, kbp
    >>> layer = keras.layers.SeparableConv1D(4, 3)
    >>> layer.build((None, 8, 2))
    >>> parts = kbp.graph.split_separable(layer, lambda kind, _, **x: kind(**x))
    >>> [type(part).__name__ for part in parts]
    ['DepthwiseConv1D', 'Conv1D']
    """
    config = layer.get_config()

    def options(source: str, target: str, *names: str) -> dict[str, Any]:
        kept = ("regularizer", "constraint", "initializer")
        return {
            "trainable": layer.trainable,
            **{name: config[name] for name in ("data_format", *names)},
            **{f"{target}_{k}": config[f"{source}_{k}"] for k in kept},
        }

    first, second = (
        (keras.layers.DepthwiseConv1D, keras.layers.Conv1D)
        if len(layer.kernel_size) == 1
        else (keras.layers.DepthwiseConv2D, keras.layers.Conv2D)
    )
    depthwise = part(
        first,
        "depthwise",
        use_bias=False,
        **options(
            *("depthwise", "depthwise", "kernel_size", "strides", "padding"),
            *("dilation_rate", "depth_multiplier"),
        ),
    )
    pointwise = part(
        second,
        None,
        kernel_size=1,
        **options("pointwise", "kernel", "filters", "use_bias", "activation"),
        bias_regularizer=config["bias_regularizer"],
        bias_constraint=config["bias_constraint"],
    )
    shape = tuple(layer.get_build_config()["input_shape"])
    depthwise.build(shape)
    pointwise.build(depthwise.compute_output_shape(shape))
    copy_variable(layer.depthwise_kernel, depthwise.kernel)
    copy_variable(layer.pointwise_kernel, pointwise.kernel)
    if layer.use_bias:
        copy_variable(layer.bias, pointwise.bias)
    return depthwise, pointwise
