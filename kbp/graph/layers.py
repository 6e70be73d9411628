"""Copies of layers and of their weights."""

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kbp.graph.rewriting import rewrite
from kbp.layers import KernelTransform, TransformedLayer


def clone_layer(layer: keras.Operation, **changes: Any) -> keras.Operation:
    """Return a new layer of the same configuration, without the weights.

    What has no weights of its own to train, or cannot be made anew, as
    operations and `Lambda` layers, is returned as it is.

    Args:
        layer: a layer or operation.
        **changes: arguments of the constructor that are to be others. Changes
            of a `TransformedLayer` are those of the layer inside.

    Example:
    >>> import keras, kbp
    >>> dense = keras.layers.Dense(3, activation="relu", name="mine")
    >>> new = kbp.graph.clone_layer(dense, units=5)
    >>> new.name, new.units, new.activation.__name__
    ('mine', 5, 'relu')
    """
    if not isinstance(layer, keras.layers.Layer):
        return layer  # an operation has no state
    if isinstance(layer, keras.layers.Lambda) or hasattr(layer, "adapt"):
        # Keras makes no Lambda from its function, and what a preprocessing
        # layer has adapted to is not in its weights. Neither is trained.
        return layer
    if type(layer) is TransformedLayer and changes:
        return TransformedLayer(
            clone_layer(layer.layer, **changes),
            [clone_layer(transform) for transform in layer.transforms],
            kernel=layer.kernel_attribute,
            name=layer.name,
        )
    function = getattr(layer, "activation", None)
    if getattr(function, "__name__", "") == "<lambda>":
        # Keras writes it as bytes that it refuses to read, and warns of that.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            config = {**layer.get_config(), "activation": function, **changes}
    else:
        config = {**layer.get_config(), **changes}
    return type(layer).from_config(_unbuilt(config))


def _unbuilt(config: Any) -> Any:
    """Return a configuration whose layers inside are of no size yet."""
    if isinstance(config, list | tuple):
        return type(config)(map(_unbuilt, config))
    if not isinstance(config, dict):
        return config
    built = "class_name" in config and "build_config" in config
    return {
        key: _unbuilt(value)
        for key, value in config.items()
        if not (built and key == "build_config")
    }


def replace_layers(
    model: keras.Model,
    replace: Callable[[keras.Operation], keras.Operation],
    call: Callable[..., Any] | None = None,
) -> keras.Model:
    """Rebuild a flat model with `replace(layer) -> new` and copy the weights.

    A layer and its replacement may differ by a `TransformedLayer` on either
    side: the weights of the layer inside are copied, and those of transforms
    of the same kernel and class, in their order.

    Args:
        model: a flat model, left as it is.
        replace: once for each layer and operation.
        call: `call(new, *args, **kwargs) -> outputs`, once for each use.

    Returns:
        The new functional model, not compiled.

    Example:
    >>> import keras, kbp
    >>> inputs = keras.Input((4,))
    >>> model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    >>> new = kbp.graph.replace_layers(model, kbp.graph.clone_layer)
    >>> new.layers[-1] is model.layers[-1]
    False
    >>> bool((new.get_weights()[0] == model.get_weights()[0]).all())
    True
    """
    pairs = []

    def replacement(old: keras.Operation) -> keras.Operation:
        new = replace(old)
        if isinstance(new, keras.layers.Layer):
            pairs.append((old, new))
        return new

    new_model = rewrite(model, layer=replacement, call=call)
    for old, new in pairs:
        copy_weights(old, new)
    return new_model


def copy_weights(old: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Copy the variables of a layer to its replacement.

    Args:
        old: a built layer, perhaps transformed.
        new: its replacement, built.

    Raises:
        ValueError: the two have different numbers of variables.

    Example:
    >>> import keras, kbp
    >>> old, new = keras.layers.Dense(2), keras.layers.Dense(2)
    >>> old.build((None, 3))
    >>> new.build((None, 3))
    >>> kbp.graph.copy_weights(old, new)
    >>> bool((old.get_weights()[0] == new.get_weights()[0]).all())
    True
    """
    sources, targets = unwrapped(old).variables, unwrapped(new).variables
    unwrapped(new).trainable = unwrapped(old).trainable
    for source, target in zip(sources, targets, strict=True):
        copy_variable(source, target)  # also states of seeds
    targets = transforms_by_kernel(new)
    for kernel, sources in transforms_by_kernel(old).items():
        left = targets.get(kernel, [])
        for transform in sources:
            kinds = [type(target) for target in left]
            if type(transform) in kinds:
                place = kinds.index(type(transform))
                left[place].set_weights(transform.get_weights())
                left = left[place + 1 :]


def copy_layer(layer: keras.layers.Layer, **changes: Any) -> keras.layers.Layer:
    """Return a built layer of the same weights and transforms.

    Args:
        layer: a built layer with a kernel, perhaps transformed.
        **changes: arguments of the constructor that are to be others, such as
            `use_bias` or `activation`; a bias that it had not is 0.

    Raises:
        ValueError: the new layer has other weights besides the bias.

    Example:
    >>> import keras, kbp
    >>> old = keras.layers.Dense(2, use_bias=False)
    >>> old.build((None, 3))
    >>> new = kbp.graph.copy_layer(old, use_bias=True)
    >>> bool((new.kernel.numpy() == old.kernel.numpy()).all())
    True
    """
    new = clone_layer(layer, **changes)
    new.build_from_config(layer.get_build_config())
    (bias, *sources), (new_bias, *targets) = (
        _parts(unwrapped(x), "activation" in changes) for x in (layer, new)
    )
    if [x.shape for x in sources] != [x.shape for x in targets]:
        raise ValueError(
            f"Layer {layer.name} has weights {[x.name for x in sources]}, and "
            f"its copy {[x.name for x in targets]}, or of other shapes."
        )
    if bias is not None and new_bias is not None:
        copy_variable(bias, new_bias)
    for source, target in zip(sources, targets, strict=True):
        copy_variable(source, target)
    for old, added in zip(transforms(layer), transforms(new), strict=True):
        added.set_weights(old.get_weights())
    return new


def _parts(layer: keras.layers.Layer, bare: bool) -> list[Any]:
    """Return the bias, if any, then other weights; bare of an activation's."""
    bias = getattr(layer, "bias", None)
    activation = getattr(layer, "activation", None) if bare else None
    left = {id(x) for x in (bias, *getattr(activation, "weights", ()))}
    return [bias, *(x for x in layer.weights if id(x) not in left)]


def copy_variable(source: keras.Variable, target: keras.Variable) -> None:
    """Copy a variable: its values, and whether it is trained.

    Not the array itself: JAX frees it when one of the two models trains.

    Args:
        source: where the values are.
        target: where they go, of the same shape.

    Example:
    >>> import keras, kbp
    >>> source, target = keras.Variable([1.0, 2.0]), keras.Variable([0.0, 0.0])
    >>> kbp.graph.copy_variable(source, target)
    >>> kbp.graph.values_of(target)
    array([1., 2.], dtype=float32)
    """
    target.assign(values_of(source))
    target.trainable = source.trainable


def values_of(variable: keras.Variable) -> np.ndarray:
    """Return a variable's values.

    Args:
        variable: of any backend.

    Example:
    >>> import keras, kbp
    >>> kbp.graph.values_of(keras.Variable([1.0, 2.0]))
    array([1., 2.], dtype=float32)
    """
    return keras.ops.convert_to_numpy(variable)


def check_finite(model: keras.Model) -> None:
    """Raise a ValueError if a weight of a model is infinite or no number.

    Args:
        model: a built model.

    Raises:
        ValueError: its message names the first such weight.

    Example:
    >>> import keras, kbp
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> kbp.graph.check_finite(model)
    """
    for weight in model.weights:
        if not keras.backend.is_float_dtype(weight.dtype):
            continue
        wrong = ~np.isfinite(values_of(weight).astype("float32"))
        if wrong.any():
            raise ValueError(
                f"weight {weight.path} of model {model.name} holds NaN or "
                f"infinity in {wrong.sum()} of {wrong.size} places, so its "
                "outputs would mean nothing. Take the weights from before "
                "the training diverged, or train at a lower learning rate."
            )


def unwrapped(layer: keras.Operation) -> keras.Operation:
    """Return the layer inside a `TransformedLayer`, or the layer itself.

    Args:
        layer: a layer or operation.

    Example:
    >>> import kbp
    >>> masked = kbp.layers.DTMDense(3)
    >>> type(kbp.graph.unwrapped(masked)).__name__
    'Dense'
    """
    return layer.innermost if isinstance(layer, TransformedLayer) else layer


def transforms(layer: keras.Operation) -> list[KernelTransform]:
    """Return the transforms of a layer's kernels, none if it is plain.

    Args:
        layer: a layer or operation.

    Example:
    >>> import kbp
    >>> [type(t).__name__ for t in kbp.graph.transforms(kbp.layers.DTMDense(3))]
    ['DTM']
    """
    return [t for wrapper in wrappers(layer) for t in wrapper.transforms]


def transforms_by_kernel(
    layer: keras.Operation,
) -> dict[str, list[KernelTransform]]:
    """Return the transforms of a layer's kernels, by the kernels' names.

    Args:
        layer: a layer or operation.

    Example:
    >>> import kbp
    >>> found = kbp.graph.transforms_by_kernel(kbp.layers.DTMDense(3))
    >>> {name: len(transforms) for name, transforms in found.items()}
    {'kernel': 1}
    """
    found: dict[str, list[KernelTransform]] = {}
    for wrapper in wrappers(layer):
        found.setdefault(wrapper.kernel_attribute, []).extend(
            wrapper.transforms
        )
    return found


def wrappers(layer: keras.Operation) -> list[TransformedLayer]:
    """Return the wrappers around a layer, one for each kernel with transforms.

    Args:
        layer: a layer or operation.

    Returns:
        The innermost first, none if the layer is plain.

    Example:
    >>> import keras, kbp
    >>> layer = keras.layers.SeparableConv1D(4, 3)
    >>> for kernel in ("depthwise_kernel", "pointwise_kernel"):
    ...     masks = [kbp.layers.DTM()]
    ...     layer = kbp.layers.TransformedLayer(layer, masks, kernel=kernel)
    >>> [x.kernel_attribute for x in kbp.graph.wrappers(layer)]
    ['depthwise_kernel', 'pointwise_kernel']
    """
    found: list[TransformedLayer] = []
    while isinstance(layer, TransformedLayer):
        found.append(layer)
        layer = layer.layer
    return found[::-1]


def in_float32(model: keras.Model) -> keras.Model:
    """Return a flat model that computes in float32, with the same weights.

    Args:
        model: a flat model, left as it is.

    Example:
    >>> import keras, kbp
    >>> inputs = keras.Input((4,))
    >>> half = keras.layers.Dense(2, dtype="mixed_float16")
    >>> wide = kbp.graph.in_float32(keras.Model(inputs, half(inputs)))
    >>> wide.layers[-1].compute_dtype
    'float32'
    """
    new_model = replace_layers(model, clone_layer)
    for layer in set(new_model.layers) - set(model.layers):
        for part in layer._flatten_layers():  # cells and the like, too
            part.dtype_policy = "float32"
    return new_model
