"""A model that a program gave to `kbp.compress`."""

import keras

from kbp.models.registry import register_model


@register_model("own_model")
def OwnModel(
    input_shape: tuple[int, ...],
    num_outputs: int,
    *,
    name: str = "",
    graph_digest: str = "",
    weights_digest: str = "",
) -> keras.Model:
    """Say that a person's own model is in no recipe.

    Args:
        input_shape: of one example.
        num_outputs: what the model gives.
        name: the model's name.
        graph_digest: what tells its layers, loss and metrics from others'.
        weights_digest: what tells its weights from others'.

    Raises:
        ValueError: always.
    """
    raise ValueError("a model of one's own is in no recipe; use kbp.compress")
