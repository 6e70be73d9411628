"""Whether targets are what Keras's losses compare a model's outputs with."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kbp._utils.examples import Batch, Shape
from kbp.errors import UserError

CLASS_NUMBERS = "sparse_categorical_crossentropy"
ONE_HOT = ("categorical_crossentropy", "categorical_focal_crossentropy")
SHARES = ("binary_crossentropy", "binary_focal_crossentropy", *ONE_HOT)
# Their targets have shapes of their own.
OTHER = ("circle", "ctc")


def check_targets(
    batch: Batch, model: keras.Model, loss: Any, what: str, before: int = 0
) -> None:
    """Raise a UserError for targets that one of Keras's losses cannot take.

    Keras itself says so from within TensorFlow, and where shapes can be
    broadcast, not at all. A person's own loss may take anything.

    Args:
        batch: examples with targets.
        model: a functional model.
        loss: what the model is compiled with.
        what: what the examples are, for the message.
        before: how many examples came before the batch.

    Raises:
        UserError: the targets have another shape, or are out of range.
    """
    output = model.output
    names = sorted(output) if isinstance(output, dict) else model.output_names
    outputs = keras.tree.flatten(output)
    if isinstance(batch.targets, dict) and not {*batch.targets} <= {*names}:
        raise UserError(
            f"{what} have targets for {', '.join(map(str, batch.targets))}; "
            f"the outputs of model {model.name} are {', '.join(names)}."
        )
    targets = _by_output(batch.targets, names)
    if not isinstance(loss, dict | list | tuple):
        loss = [loss] * len(names)
    losses = _by_output(loss, names)
    if targets is None or losses is None:
        return  # a training step says what does not fit
    for name, tensor, target, one in zip(
        names, outputs, targets, losses, strict=True
    ):
        function, options = _function(one)
        if function is None or target is None:
            continue
        where = f" for output {name!r}" if len(names) > 1 else ""
        check = _Check(
            f"{what} have targets{where}",
            np.asarray(target),
            tuple(tensor.shape[1:]),
            function.__name__,
            before,
        )
        if check.loss != CLASS_NUMBERS:
            check.values_of_outputs()
        elif options.get("axis", -1) == -1:
            check.class_numbers(options.get("ignore_class"))


def _by_output(value: Any, names: list[str]) -> list[Any] | None:
    """Return losses or targets in the order of outputs, if that is plain."""
    if isinstance(value, dict):
        known = set(value) <= set(names)
        return [value.get(name) for name in names] if known else None
    values = list(value) if isinstance(value, list | tuple) else [value]
    return values if len(values) == len(names) else None


def _function(
    loss: Any,
) -> tuple[Callable[..., Any] | None, dict[str, Any]]:
    """Return Keras's function behind a loss, if it is one, and its options."""
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    function = getattr(loss, "fn", loss)
    known = [x for x in vars(keras.losses).values() if not isinstance(x, type)]
    if not any(function is x for x in known) or function.__name__ in OTHER:
        return None, {}
    return function, getattr(loss, "_fn_kwargs", {})


class _Check:
    """Checks the targets of one output.

    Args:
        what: whose targets they are, for messages.
        target: the targets.
        output: shape of an example's output.
        loss: name of the loss.
        before: how many examples came before.
    """

    def __init__(
        self,
        what: str,
        target: np.ndarray,
        output: Shape,
        loss: str,
        before: int,
    ) -> None:
        self.before = before
        self.what, self.target = what, target
        self.output, self.loss = output, loss
        self.received = target.shape[1:]

    def class_numbers(self, ignored: int | None) -> None:
        """Raise a UserError unless they are numbers of classes."""
        *places, classes = self.output
        if not _fits((*self.received, 1), (*places, 1)):
            advice = f"give class numbers, of shape {_shape(places)}"
            if _fits(self.received, self.output):
                advice += (
                    ": y.argmax(-1), where they are one-hot; or compile with "
                    "categorical_crossentropy"
                )
            raise self.unfit(advice)
        if classes is None:
            return
        labels = self.target
        wrong = np.less(labels, 0) | np.greater_equal(labels, classes)
        if labels.dtype.kind == "f":
            wrong |= labels % 1 != 0
        if ignored is not None:
            wrong &= labels != ignored
        advice = f"whole numbers from 0 to {classes - 1} are right"
        if labels.min() == 1 and labels.max() == classes:
            advice += ": give y - 1"
        elif classes == 1:
            advice += ": compile with binary_crossentropy"
        else:
            advice += ", or a last layer with more outputs"
        self.refuse(wrong, advice)

    def values_of_outputs(self) -> None:
        """Raise a UserError unless there is one for each value of an output."""
        if not _fits(self.received, self.output):
            advice = f"give targets of shape {_shape(self.output)}"
            *places, classes = self.output or (None,)
            if _fits((*self.received, 1), (*places, 1)) and self.loss in SHARES:
                advice += (
                    f": keras.utils.to_categorical(y, {classes}), where they "
                    f"are class numbers; or compile with {CLASS_NUMBERS}"
                )
            raise self.unfit(advice)
        if self.loss in SHARES:
            wrong = (self.target < 0) | (self.target > 1)
            self.refuse(wrong, "numbers from 0 to 1 are right")

    def refuse(self, wrong: Any, advice: str) -> None:
        """Raise a UserError that names the first value that is out of range."""
        if not wrong.any():
            return
        rows = wrong.reshape(len(wrong), -1).any(axis=1)
        value = float(self.target[wrong][0])
        raise UserError(
            f"{self.what} that are out of range: {value:g} in example "
            f"{self.before + np.argmax(rows)}, and such in {rows.sum()} of "
            f"{len(rows)}. For outputs of shape {_shape(self.output)} and the "
            f"loss {self.loss}, {advice}."
        )

    def unfit(self, advice: str) -> UserError:
        """Return the error that names the shapes."""
        return UserError(
            f"{self.what} of shape {self.target.shape}, which the loss "
            f"{self.loss} cannot compare with outputs of shape "
            f"{_shape(self.output)}: {advice}."
        )


def _fits(received: Shape, wanted: Shape) -> bool:
    """Say whether shapes are the same, but for one last axis of 1."""
    if len(received) == len(wanted) + 1 and received[-1] == 1:
        received = received[:-1]
    elif len(wanted) == len(received) + 1 and wanted[-1] == 1:
        wanted = wanted[:-1]
    return len(received) == len(wanted) and all(
        n in (None, m) for m, n in zip(received, wanted, strict=True)
    )


def _shape(of_one: Sequence[int | None]) -> str:
    return f"({', '.join(map(str, ['batch', *of_one]))})"
