"""The networks of Keras Applications, to be trained on from local weights."""

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from kbp._utils.arguments import check_integer, check_one_of, check_rate
from kbp.errors import UserError, nearest
from kbp.models.registry import BACKBONE, MODELS

FAMILY = "keras.applications"
SUFFIXES = (".h5", ".keras")
# Keras's 0.99 and 0.999 are for epochs of a million images; after a few hundred
# steps the averages would still be those of the start.
_MOMENTUM = 0.9
_POOLINGS = {
    "avg": layers.GlobalAveragePooling2D,
    "max": layers.GlobalMaxPooling2D,
}
_STDDEV = (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue


@functools.cache
def application(name: str) -> Callable[..., keras.Model]:
    """Return what builds a network of `keras.applications` with a new head.

    A recipe's `architecture = "keras.applications:MobileNetV2"` means it. The
    model takes images in [0, 1], grey or of three colors: what the network's
    own `preprocess_input` does to them is its first layer, so the exported file
    holds it. The network without its head is a model inside, `"backbone"`.
    The moving averages of its BatchNormalization have momentum 0.9.

    Args:
        name: of a builder of `keras.applications`.

    Returns:
        A builder `(input_shape, num_outputs, *, weights, alpha, pooling,
        dropout)`; see its own docstring.

    Raises:
        UserError: there is no such network.

    Example:
    >>> from kbp.models.applications import application
    >>> build = application("MobileNetV2")
    >>> build((32, 32, 1), 3, alpha=0.35).output_shape
    (None, 3)
    """
    known = _builders()
    if name not in known:
        raise UserError(
            f"model.architecture: keras.applications has no network {name!r}"
            f"{nearest(name, known)}"
        )

    def build(
        input_shape: tuple[int, int, int],
        num_outputs: int,
        *,
        weights: str = "",
        alpha: float | None = None,
        pooling: str = "avg",
        dropout: float = 0.2,
    ) -> keras.Model:
        """Build the network with a head for classes.

        Args:
            input_shape: `(height, width, channels)`, of 1 or 3 channels.
            num_outputs: number of logits.
            weights: a local `.weights.h5`, `.h5` or `.keras` file of the
                network without its head; by default weights are random.
            alpha: width of a network that has such an argument.
            pooling: `"avg"` or `"max"`, of the last maps.
            dropout: rate in [0, 1) before the logits.

        Returns:
            A functional model from images in [0, 1] to logits.

        Raises:
            ValueError: an argument is out of range, or the file is missing,
                does not fit or would have to be downloaded.
        """
        check_one_of(tuple(_POOLINGS), pooling=pooling)
        check_rate(dropout=dropout)
        check_integer(num_outputs=num_outputs)
        _check(input_shape, weights)
        backbone = _backbone(known[name], input_shape, alpha)
        if weights:
            _load(backbone, name, Path(weights))
        inputs = x = keras.Input(input_shape, name="image")
        if input_shape[-1] == 1:
            x = layers.Concatenate(name="colors")([x, x, x])
        x = _preprocessing(known[name], backbone)(x)
        x = _POOLINGS[pooling](name="pool")(backbone(x))
        if dropout:
            x = layers.Dropout(dropout, name="dropout")(x)
        outputs = layers.Dense(num_outputs, name="logits")(x)
        return keras.Model(inputs, outputs, name=name.lower())

    return build


MODELS.add_family(FAMILY, application)


def _builders() -> dict[str, Callable[..., keras.Model]]:
    return {
        name: found
        for name, found in vars(keras.applications).items()
        if callable(found)
    }


def _check(input_shape: tuple[int, ...], weights: str) -> None:
    if len(input_shape) != 3 or input_shape[-1] not in (1, 3):
        raise ValueError(
            "Argument `input_shape` must be (height, width, channels) of 1 or "
            f"3 channels. Received: input_shape={input_shape}"
        )
    path = Path(weights)
    if weights and (path.suffix not in SUFFIXES or not path.is_file()):
        raise ValueError(
            "Argument `weights` must be a local file, .weights.h5, .h5 or "
            f".keras; kbp downloads nothing. Received: weights={weights!r}"
        )


def _backbone(
    build: Callable[..., keras.Model],
    input_shape: tuple[int, ...],
    alpha: float | None,
) -> keras.Model:
    if alpha is not None and not 0 < alpha < 10:
        raise ValueError(
            "Argument `alpha` must be more than 0 and less than 10. "
            f"Received: alpha={alpha}"
        )
    options: dict[str, Any] = {} if alpha is None else {"alpha": alpha}
    try:
        backbone = build(
            weights=None,
            include_top=False,
            input_shape=(*input_shape[:2], 3),
            **options,
        )
    except TypeError as error:
        raise ValueError(
            f"Argument `alpha` is not one of {build.__name__}. "
            f"Received: alpha={alpha}"
        ) from error
    backbone.name = BACKBONE  # EfficientNetV2 finds its blocks by its own name
    for layer in backbone.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    return backbone


def _load(backbone: keras.Model, name: str, path: Path) -> None:
    try:
        # Of each layer that is not in the file, before it says that.
        with warnings.catch_warnings(action="ignore"):
            backbone.load_weights(path)
    except Exception as error:  # Keras raises many kinds for a wrong file
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"Argument `weights`: {path} holds no weights of {name} without "
            f"its head, as it is built here: {reason}"
        ) from error
    for layer in backbone.layers:
        # Keras's EfficientNet of ImageNet divides by the root of the deviation
        # once more, in a layer that it builds for its own download alone.
        if not isinstance(layer, layers.Normalization):
            continue
        variance = keras.ops.convert_to_numpy(layer.adapt_variance)
        is_imagenet = np.allclose(variance**0.5, _STDDEV, rtol=0.01)
        if name.startswith("EfficientNetB") and is_imagenet:
            layer.adapt_variance.assign(variance**1.5)
            layer.finalize_state()


def _preprocessing(
    build: Callable[..., keras.Model], backbone: keras.Model
) -> layers.Layer:
    """Return a network's own preprocessing, for images in [0, 1].

    It is one factor and one offset of each channel. Where it swaps red and
    blue, the channels of the first kernel are swapped instead.
    """
    module = getattr(keras.applications, build.__module__.rpartition(".")[2])
    # Black, then full red, green and blue.
    colors = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)])
    found = np.asarray(
        module.preprocess_input(
            colors.reshape(4, 1, 1, 3).astype("float32"),
            data_format="channels_last",
        )
    ).reshape(4, 3)
    offset, effects = found[0], found[1:] - found[0]  # (from, to) of channels
    if not effects.diagonal().all():
        offset, effects = offset[::-1], effects[:, ::-1]
        first = next(x for x in backbone.layers if isinstance(x, layers.Conv2D))
        kernel = keras.ops.convert_to_numpy(first.kernel)
        first.kernel.assign(kernel[:, :, ::-1])
    return layers.Rescaling(
        effects.diagonal().tolist(), offset.tolist(), name="preprocessing"
    )
