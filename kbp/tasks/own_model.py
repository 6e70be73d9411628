"""A person's own Keras model, with its own loss and metrics."""

import contextlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from kbp import graph
from kbp._utils.examples import BATCH_SIZE
from kbp.data.checks.leaks import shared_examples
from kbp.data.feeds import ArrayFeed, Feed, StreamFeed, element
from kbp.data.formats.arrays import FeedSplits
from kbp.data.shares import WHOLE, Shares
from kbp.data.splitting import SPLITS
from kbp.errors import UserError
from kbp.export import Metadata
from kbp.layers import TruncatedRNN
from kbp.tasks.registry import format_score, register_task
from kbp.tasks.task import Task

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe

_FEW = 8  # examples to try a step with


@register_task("own_model")
class OwnModel(Task):
    """What `kbp.compress` does for a model: train, score and export it.

    Args:
        recipe: see `Task`.
        splits: the examples.
        model: the model, which is left as it is.
        compiled: what it is compiled with, besides an optimizer.
    """

    splits_kind = FeedSplits
    splits: FeedSplits
    takes = "what the model took"
    gives = "what the model gave"

    def __init__(
        self,
        recipe: "Recipe",
        splits: FeedSplits,
        model: keras.Model,
        compiled: dict[str, Any],
    ):
        self.model, self.compiled = graph.flatten(model), compiled
        super().__init__(recipe, splits)
        self.judge = graph.plain(self.model)
        self.judge.compile("sgd", **compiled)
        few = splits.test.take(np.arange(min(BATCH_SIZE, len(splits.test))))
        inputs, *_ = element(few.arrays, few.names)
        scores = self._scores(self.judge.predict(inputs, verbose=0), few)
        self.metric, *_ = scores
        if np.isnan(scores[self.metric]):  # of all, it may be a number
            inputs, *_ = element(splits.test.arrays, splits.test.names)
            outputs = self.judge.predict(inputs, verbose=0)
            if np.isnan(self._scores(outputs, splits.test)[self.metric]):
                raise UserError(
                    f"Metric {self.metric} of model {model.name} is NaN for "
                    "the test data, so it cannot tell how good the model is. "
                    "Correct it, or compile with another first metric."
                )

    def make_loss(self) -> Any:
        return self.compiled["loss"]

    def compile_options(self) -> dict[str, Any]:
        return self.compiled

    def metrics(self) -> list[Any]:
        return self.compiled["metrics"] or []

    def count_steps(self) -> int:
        return self.splits.train.steps(self.batch_size)

    def given(self) -> keras.Model:
        return self.model

    def build(self) -> keras.Model:
        return graph.replace_layers(self.model, graph.clone_layer)

    def restored(self, model: keras.Model) -> keras.Model:
        if type(model) is type(self.model):  # new, and no checkpoint's
            return model
        return graph.in_class_of(self.model, model)

    def score(self, outputs: Any, split: str = "test") -> float:
        return self._scores(outputs, self.splits.test)[self.metric]

    def details(self, outputs: Any) -> dict[str, str]:
        return {
            name: format_score(name, value)
            for name, value in self._scores(outputs, self.splits.test).items()
            if name != self.metric
        }

    def _scores(self, outputs: Any, test: ArrayFeed) -> dict[str, float]:
        """Return metrics and loss of outputs for test examples."""
        judge, losses = self.judge, []
        outputs = keras.tree.pack_sequence_as(
            judge.output, keras.tree.flatten(outputs)
        )
        judge.reset_metrics()
        for start in range(0, len(test), BATCH_SIZE):
            part = np.arange(start, min(len(test), start + BATCH_SIZE))
            _, y, *weights = element(test.take(part).arrays, test.names)
            found = keras.tree.map_structure(
                lambda x, part=part: keras.ops.convert_to_tensor(x[part]),
                outputs,
            )
            weight = weights[0] if weights else None
            results = judge.compute_metrics(None, y, found, weight)
            loss = judge.compute_loss(None, y, found, weight)
            losses.append(len(part) * float(loss))
        # A metric comes first, as the score; the loss where there is none.
        del results["loss"]
        scores = {name: _number(name, x) for name, x in results.items()}
        return scores | {"loss": sum(losses) / len(test)}

    def metadata(self) -> Metadata:
        name = self.model.name
        described = f"The Keras model {name}, compressed by kbp."
        return replace(super().metadata(), name=name, description=described)

    def figures(self, outputs: Any) -> dict[str, str]:
        return {}

    def warnings(self) -> list[str]:
        held = {
            name: examples
            for name in SPLITS
            if isinstance(examples := getattr(self.splits, name), ArrayFeed)
        }
        if held.get("validation") is held["test"]:  # on purpose
            del held["validation"]
        return shared_examples(
            {name: _rows(examples) for name, examples in held.items()}
        )

    def late_warnings(self) -> list[str]:
        return [
            f"{examples.what} gave other examples when they were read again. "
            "Unless that is on purpose, as when examples are augmented at "
            "random, let a function make a new generator for each reading."
            for examples in (self.splits.train, self.splits.validation)
            if isinstance(examples, StreamFeed) and examples.differs
        ]

    def training_batches(
        self, *, seed: int, start_step: int = 0, shares: Shares = WHOLE
    ) -> tf.data.Dataset:
        return self.splits.train.training(
            self.batch_size, seed=seed, start_step=start_step, shares=shares
        )

    def batches(
        self,
        split: str,
        batch_size: int | None = None,
        shares: Shares = WHOLE,
    ) -> tf.data.Dataset:
        feed = getattr(self.splits, split)
        return feed.batches(batch_size or self.batch_size, shares)

    def calibration_batches(self) -> tf.data.Dataset:
        # Of all examples, which may be in the order of their classes.
        return self.training_batches(seed=self.recipe.training.seed)

    def inputs(self, split: str) -> Any:
        feed = getattr(self.splits, split)
        return element(feed.arrays, feed.names)[0]


def check_model(model: keras.Model) -> None:
    """Raise an error for a model that cannot be rebuilt or computes NaN.

    Args:
        model: a functional or Sequential model.

    Raises:
        ValueError: its graph is not known, or a weight is not of float32.
        UserError: a weight is not finite, a layer's `get_config` does not make
            it again, or its states go on from batch to batch.
    """
    graph.as_functional(model)
    graph.check_float32(model)
    for weight in model.weights:
        value = keras.ops.convert_to_numpy(weight)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise UserError(
                f"Model {model.name} holds NaN or infinite weights: "
                f"{weight.path}. Train it anew, or load weights that are "
                "finite."
            )
    for layer in graph.flatten(model).layers:
        kind = type(layer).__name__
        if isinstance(layer, TruncatedRNN) and layer.streams:
            raise UserError(
                f"Layer {layer.name} ({kind}) has streams, whose batches "
                "follow each other; kbp.compress shuffles its own. Give it "
                "streams=None, or train a recipe with model.streams."
            )
        try:
            graph.clone_layer(layer)
        except Exception as error:  # a layer of one's own raises any
            *_, said = str(error).splitlines() or [kind]
            said = said.removeprefix("Exception encountered: ")
            raise UserError(
                f"Layer {layer.name} ({kind}) cannot be made again from its "
                f"get_config(): {said}. Give {kind} an `__init__(..., "
                "**kwargs)` that passes them to `super().__init__`, and a "
                "`get_config` with its arguments."
            ) from error


def try_step(model: keras.Model, feed: Feed, compiled: dict[str, Any]) -> None:
    """Train a copy of a model for one step on a few examples.

    Args:
        model: the model, which is left as it is.
        feed: the examples.
        compiled: what to compile the copy with, besides an optimizer.

    Raises:
        UserError: the step fails, by whatever error.
    """
    copy = graph.replace_layers(graph.flatten(model), graph.clone_layer)
    for metric in keras.tree.flatten(compiled.get("metrics")):
        if isinstance(metric, keras.Metric):
            value: Any = 0
            with contextlib.suppress(Exception):  # it may have no state yet
                value = metric.result()
            _number(metric.name, value)
    copy.compile("sgd", **compiled)
    few = min(len(feed), _FEW)
    if isinstance(feed, ArrayFeed):
        feed = feed.take(np.arange(few))
    batches = feed.training(few, seed=0, start_step=0)
    try:
        copy.fit(batches, steps_per_epoch=1, shuffle=False, verbose=0)
    except Exception as error:  # a loss or step of one's own raises any
        inputs, *rest = batches.element_spec
        raise UserError(
            f"Model {model.name} cannot train on the training data: a step "
            f"with inputs of shape {_shapes(inputs)}, targets (and weights) of "
            f"{_shapes(rest)}, for outputs of {_shapes(copy.output)}, raises "
            f"{type(error).__name__}: {_reason(error)}"
        ) from error


def _number(name: str, value: Any) -> float:
    """Return a metric's result, or raise a UserError if it is no number."""
    array = None if isinstance(value, dict) else np.asarray(value)
    if array is not None and array.size == 1:
        return float(array.item())
    received = "a dict" if array is None else f"the shape {array.shape}"
    raise UserError(
        f"Metric {name} must be one number for all examples. Received: "
        f"{received}. Give one metric for each number."
    )


def _shapes(structure: Any) -> str:
    """Return the shapes of tensors as text."""
    tensors = keras.tree.flatten(structure)
    return ", ".join(
        f"({', '.join(map(str, ['batch', *x.shape[1:]]))})" for x in tensors
    )


def _reason(error: Exception) -> str:
    """Return what an error says, without where TensorFlow was."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split("[[{{")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if isinstance(error, tf.errors.OpError):
        lines.reverse()  # before it, where the operation was made
    said = (x for x in lines if not x.startswith("Exception encountered"))
    return next(said, "no reason given")


def _rows(examples: ArrayFeed) -> np.ndarray:
    """Return all inputs of each example as one row."""
    count = len(examples)
    parts = [x.reshape(count, -1) for x in examples.arrays.inputs]
    return np.concatenate(parts, axis=1)
