"""The first-order Taylor model of a network in its weights."""

from typing import Any

import keras
import numpy as np

from kbp._utils.types import Tensor
from kbp.diagnostics import backends
from kbp.diagnostics.weights import scope, trained, values


@keras.saving.register_keras_serializable(package="kbp")
class LinearizedModel(keras.Model):
    """A network that is linear in its weights, see `linearized`.

    Args:
        base: the network that is linearized, at its weights. It becomes part
            of the model, and is trained no more.
        trained_weights: which of its weights are trained instead, by their
            places in `base.weights`.

    Call arguments:
        inputs: as those of the network.

    Returns:
        Outputs in its structure.

    Example:
    >>> import keras
    >>> base = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> LinearizedModel(base, [0, 1]).count_params()  # weights and shifts
    18
    """

    def __init__(
        self, base: keras.Model, trained_weights: list[int], **arguments: Any
    ):
        # The network's own layers cast what they get.
        super().__init__(autocast=False, **arguments)
        base.trainable = False
        self.base, self.trained_weights = base, [*trained_weights]
        self._points = [base.weights[place] for place in trained_weights]
        self._shifts = [
            self.add_weight(
                shape=v.shape,
                dtype=v.dtype,
                initializer="zeros",
                name=v.path.replace("/", "_"),
            )
            for v in self._points
        ]
        self.built = True

    def call(self, inputs: Any) -> Any:
        chosen = {id(v) for v in self._points}
        rest = [v for v in self.base.variables if id(v) not in chosen]
        held = values(rest)
        structure: list[Any] = []

        def outputs(points: list[Tensor]) -> list[Tensor]:
            with scope([*self._points, *rest], [*points, *held]):
                found = self.base(inputs, training=False)
            structure[:] = [found]
            return keras.tree.flatten(found)

        own, moved = backends.of_keras().pushed(
            outputs, values(self._points), values(self._shifts)
        )
        return keras.tree.pack_sequence_as(
            structure[0], [a + b for a, b in zip(own, moved, strict=True)]
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.base.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "base": keras.saving.serialize_keras_object(self.base),
            "trained_weights": self.trained_weights,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "LinearizedModel":
        base = keras.saving.deserialize_keras_object(
            config["base"], custom_objects=custom_objects
        )
        return cls(**{**config, "base": base})


def linearized(model: keras.Model) -> LinearizedModel:
    """Return the first-order Taylor model of a network at its weights.

    Its outputs are `f(x; w) + J(x; w) v`, with the network's weights `w`, which
    stay, the outputs' Jacobian `J` in them, and shifts `v` in their shapes,
    which start at 0 and are trained. Trained on squares it follows
    `predict_dynamics` by the network's `tangent_kernel`, and so does the
    network itself as far as it is wide. Layers compute as at inference, and
    their penalties are left out. It is compiled, trained and saved as others.

    Args:
        model: built, which Keras must be able to make anew from its config. It
            stays as it is.

    Raises:
        ValueError: the model is not built, has no weights of floats, or cannot
            be made anew.

    Reference:
        Lee et al., Wide Neural Networks of Any Depth Evolve as Linear Models
        Under Gradient Descent, 2019, equation 5.

    Example:
    >>> import keras, numpy as np, kbp
    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), keras.layers.Dense(3, "tanh")])
    >>> linear = kbp.diagnostics.linearized(model)
    >>> x = np.ones((1, 2))
    >>> bool(np.allclose(linear(x), model(x)))
    True
    >>> linear.compile("sgd", "mse")
    >>> past = linear.fit(x, np.zeros((1, 3)), verbose=0)
    """
    chosen = {id(variable) for variable in trained(model)}
    places = [n for n, v in enumerate(model.weights) if id(v) in chosen]
    try:
        base = type(model).from_config(model.get_config())
        if not base.built:
            base.build(model.input_shape)
        for own, found in zip(base.weights, model.weights, strict=True):
            own.assign(np.array(found))  # JAX would share it, and free it
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"Model {model.name} cannot be made anew from its config: {error}"
        ) from error
    return LinearizedModel(base, places, name=f"{model.name}_linearized")
