"""A person's own Keras model, with its own loss and metrics."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from kbp import graph
from kbp._utils.examples import BATCH_SIZE
from kbp.data.feeds import ArrayFeed, element
from kbp.data.formats.arrays import FeedSplits
from kbp.data.leaks import shared_examples
from kbp.data.splitting import SPLITS
from kbp.tasks.registry import format_score, register_task
from kbp.tasks.task import Task

if TYPE_CHECKING:
    from kbp.recipes.recipe import Recipe


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
        self.metric, *_ = self._scores(
            self.judge.predict(inputs, verbose=0), few
        )

    def make_loss(self) -> Any:
        return self.compiled["loss"]

    def compile_options(self) -> dict[str, Any]:
        return self.compiled

    def metrics(self) -> list[Any]:
        return self.compiled["metrics"] or []

    def count_steps(self) -> int:
        return self.splits.train.steps(self.batch_size)

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
        scores = {name: float(value) for name, value in results.items()}
        return scores | {"loss": sum(losses) / len(test)}

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

    def training_batches(
        self, *, seed: int, start_step: int = 0
    ) -> tf.data.Dataset:
        return self.splits.train.training(
            self.batch_size, seed=seed, start_step=start_step
        )

    def batches(
        self, split: str, batch_size: int | None = None
    ) -> tf.data.Dataset:
        feed = getattr(self.splits, split)
        return feed.batches(batch_size or self.batch_size)

    def calibration_batches(self) -> tf.data.Dataset:
        # Of all examples, which may be in the order of their classes.
        return self.training_batches(seed=self.recipe.training.seed)

    def inputs(self, split: str) -> Any:
        feed = getattr(self.splits, split)
        return element(feed.arrays, feed.names)[0]


def _rows(examples: ArrayFeed) -> np.ndarray:
    """Return all inputs of each example as one row."""
    count = len(examples)
    parts = [x.reshape(count, -1) for x in examples.arrays.inputs]
    return np.concatenate(parts, axis=1)
