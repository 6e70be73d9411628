"""Training of a new head on a network that was trained before."""

from collections.abc import Callable

import keras

from kbp.errors import UserError
from kbp.graph import plain
from kbp.models.registry import BACKBONE
from kbp.training.trainer import Trainer


def begin(
    trainer: Trainer, *, seed: int, name: str = "head"
) -> Callable[[], keras.Model]:
    """Train what is new in a model alone, if the recipe asks for it.

    Args:
        trainer: of the run.
        seed: of weights, dropout and batches.
        name: of the stage.

    Returns:
        What makes the model that is then trained as a whole.
    """
    task, section = trainer.task, trainer.recipe.training

    def new() -> keras.Model:
        return task.start(task.build())

    if not section.frozen_epochs:
        return new
    model = trainer.fit(
        name,
        lambda: freeze(new()),
        epochs=section.frozen_epochs,
        learning_rate=section.frozen_learning_rate,
        seed=seed,
    )
    weights = model.get_weights()

    def thawed() -> keras.Model:
        # A training that diverged, and begins again, has changed them.
        model.set_weights(weights)
        return thaw(model)

    return thawed


def freeze(model: keras.Model) -> keras.Model:
    """Keep the network inside a model as it is, and return the model.

    Args:
        model: a model that holds one named `"backbone"`; changed in place.

    Raises:
        UserError: it holds none.

    Example:
    >>> from kbp.models.applications import application
    >>> model = freeze(application("MobileNetV2")((32, 32, 3), 4, alpha=0.35))
    >>> [tuple(weight.shape) for weight in model.trainable_weights]
    [(1280, 4), (4,)]
    >>> len(thaw(model).trainable_weights) > 100
    True
    """
    backbones = [layer for layer in model.layers if layer.name == BACKBONE]
    if not backbones:
        raise UserError(
            f"training.frozen_epochs must be 0 for {model.name}, which holds "
            "no network that was trained before; keras.applications:NAME does"
        )
    backbones[0].trainable = False
    return model


def thaw(model: keras.Model) -> keras.Model:
    """Return a model, not compiled, whose network inside is trained again.

    Args:
        model: that `freeze` returned.
    """
    model = plain(model)
    model.get_layer(BACKBONE).trainable = True
    return model
