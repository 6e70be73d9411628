"""Models and losses that compute in another type of floats."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras


@contextlib.contextmanager
def floats(dtype: str) -> Iterator[None]:
    """Let Keras's losses be made in a type, which they take from the config."""
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def in_dtype(model: keras.Model, dtype: str) -> keras.Model:
    """Return a copy of a model that computes in a type, with its weights.

    Args:
        model: functional, Sequential or another that Keras makes from its
            config.
        dtype: `"float64"` or `"float32"`.
    """
    new: keras.Model = type(model).from_config(
        retyped(model.get_config(), dtype)
    )
    if not new.built:
        new.build(model.input_shape)
    copy_weights(model, new)
    return new


def copy_weights(old: keras.layers.Layer, new: keras.layers.Layer) -> None:
    """Give a layer the weights of another of the same kind, in its own type."""
    for own, found in zip(new.weights, old.weights, strict=True):
        own.assign(keras.ops.cast(found, own.dtype))


def made_anew(loss: Any) -> Any:
    """Return a loss that computes in the type that Keras has now."""
    if isinstance(loss, keras.losses.Loss):
        return type(loss).from_config(loss.get_config())
    return loss


def retyped(config: Any, dtype: str) -> Any:
    """Return a config whose layers compute in a type."""
    if isinstance(config, list | tuple):
        return type(config)(retyped(each, dtype) for each in config)
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return {**config, "config": {"name": dtype}}
    new = {key: retyped(each, dtype) for key, each in config.items()}
    if config.get("class_name") == "InputLayer":
        own = new["config"]
        if own["dtype"] == "float32":
            own["dtype"] = dtype
    return new
