"""Training that resumes from a checkpoint in the middle of an epoch."""

from collections.abc import Callable, Sequence

import keras

from kbp.optimizers.summing import steps_of
from kbp.training.checkpoint import State
from kbp.training.distribution import Batches
from kbp.training.techniques.technique import Logs


def resume_fit(
    model: keras.Model,
    state: State,
    *,
    batches: Callable[[int], Batches],
    validation: Batches | None,
    make_callbacks: Callable[[], list[keras.callbacks.Callback]],
    epochs: int,
    steps: int,
) -> None:
    """Train a model to the end as if it had never stopped.

    Args:
        model: a compiled model, with its optimizer's state.
        state: the checkpoint's state, empty at the start.
        batches: `batches(step) -> data`, the training batches from a step on.
        validation: validation batches, if there are any.
        make_callbacks: returns new callbacks for each call of `fit`; those that
            `Checkpoint` was given as `others` come first.
        epochs: number of epochs of the whole training.
        steps: number of steps of a whole epoch.
    """
    done = steps_of(model.optimizer)
    inside = state.get("inside", 0)
    epoch = (done - inside) // steps

    def callbacks(state: State) -> ResumedCallbacks:
        # TensorBoard's callback is good for one `fit`.
        return ResumedCallbacks(
            make_callbacks(), model, epochs=epochs, steps=steps, state=state
        )

    def fit(first: int, last: int, steps: int, state: State) -> None:
        model.fit(
            batches(steps_of(model.optimizer)),
            epochs=last,
            initial_epoch=first,
            steps_per_epoch=steps,
            validation_data=validation,
            callbacks=callbacks(state),
            shuffle=False,  # the batches are shuffled already
            verbose=0,  # `Progress` says what comes of epochs
        )

    if inside == steps:
        _end_epoch(model, callbacks(state), epoch, validation, state["logs"])
    elif inside:
        # Keras makes the variables of metrics when they are first used.
        model.evaluate(batches(done), steps=1, verbose=0)
        fit(epoch, epoch + 1, steps - inside, state)
    epoch += bool(inside)
    if epoch < epochs and not (inside and model.stop_training):
        fit(epoch, epochs, steps, {})


def _end_epoch(
    model: keras.Model,
    callbacks: keras.callbacks.CallbackList,
    epoch: int,
    validation: Batches | None,
    logs: dict[str, float],
) -> None:
    """End an epoch that stopped after its last step, as `fit` would."""
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(epoch)
    if validation is not None:
        found = model.evaluate(
            validation, callbacks=callbacks, return_dict=True, verbose=0
        )
        logs |= {f"val_{name}": value for name, value in found.items()}
    callbacks.on_epoch_end(epoch, logs)
    callbacks.on_train_end(logs)


class ResumedCallbacks(keras.callbacks.CallbackList):
    """Callbacks that continue in the middle of an epoch.

    They and the metrics get the checkpoint's state, and count steps from the
    one that the epoch stopped at.

    Args:
        callbacks: the callbacks, as `resume_fit` gets them.
        model: the model that trains.
        epochs: number of epochs of the whole training.
        steps: number of steps of a whole epoch.
        state: the checkpoint's state, empty at the start.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        model: keras.Model,
        *,
        epochs: int,
        steps: int,
        state: State,
    ):
        super().__init__(
            callbacks,
            add_history=True,
            model=model,
            epochs=epochs,
            steps=steps,
            verbose=0,
        )
        self.state, self.inside = state, state.get("inside", 0)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        if not self.inside:
            super().on_epoch_begin(epoch, logs)
            return
        if self.state["metrics"]:
            for variable, value in zip(
                self.model.metrics_variables, self.state["metrics"], strict=True
            ):
                variable.assign(value)
        states = self.state["callbacks"]
        for callback, state in zip(self.callbacks, states, strict=False):
            callback.restore(state)
        for callback in self.callbacks[len(states) :]:
            callback.on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        super().on_train_batch_begin(batch + self.inside, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        super().on_train_batch_end(batch + self.inside, logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        super().on_epoch_end(epoch, logs)
        self.inside = 0
