"""A dense layer with a differentiable topology mask."""

from typing import Any, Self

import keras

from kbp.layers.transformed import TransformedLayer
from kbp.layers.transforms.dtm import DTM
from kbp.layers.transforms.path_norm import PathNormBound


class DTMLayer(TransformedLayer):
    """Base of Keras layers whose kernel passes through a `DTM`.

    The configuration is flat: it holds the arguments of the wrapped layer and
    those of the mask.
    """

    layer_class: type[keras.layers.Layer]
    dtm_arguments = (
        "temperature",
        "threshold",
        "score",
        "granularity",
        "estimator",
        "penalty",
    )

    def __init__(
        self, *args: Any, path_norm_bound: float | None = None, **kwargs: Any
    ):
        chosen = {k: kwargs.pop(k) for k in self.dtm_arguments if k in kwargs}
        layer = self.layer_class(*args, **kwargs)
        transforms = [DTM(dtype=layer.variable_dtype, **chosen)]
        if path_norm_bound is not None:
            transforms.append(PathNormBound(path_norm_bound))
        super().__init__(layer, transforms)
        self.path_norm_bound = path_norm_bound

    @property
    def dtm(self) -> DTM:
        """The transform that masks the kernel."""
        return self.transforms[0]

    def get_config(self) -> dict[str, Any]:
        dtm = self.dtm.get_config()
        return {
            **self.layer.get_config(),
            **{key: dtm[key] for key in self.dtm_arguments},
            "path_norm_bound": self.path_norm_bound,
        }

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        custom_objects: dict[str, Any] | None = None,
    ) -> Self:
        return keras.layers.Layer.from_config.__func__(cls, config)


@keras.saving.register_keras_serializable(package="kbp")
class DTMDense(DTMLayer):
    """`keras.layers.Dense` whose kernel passes through `DTM`.

        y = act((m * W)^T x + b),   m = sigmoid(tau (s - lambda))

    Args:
        units: size of the output.
        temperature, threshold, score, granularity, estimator, penalty: see
            `DTM`.
        path_norm_bound: `gamma` of a `PathNormBound` on the kernel's gradient,
            or `None`.
        **kwargs: of `keras.layers.Dense`.

    Call arguments:
        inputs: tensor `(..., features)`.

    Returns:
        Tensor `(..., units)`.

    Example:
    >>> import keras, kbp
    >>> layer = kbp.layers.DTMDense(4, activation="relu", temperature=20.0)
    >>> layer(keras.ops.ones((2, 3))).shape
    TensorShape([2, 4])
    """

    layer_class = keras.layers.Dense
