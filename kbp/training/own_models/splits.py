"""A person's own examples, checked and split."""

from functools import partial
from typing import Any

import keras
import numpy as np

from kbp import graph
from kbp._utils.examples import Batch, shapes_of
from kbp.data.checks.targets import check_targets
from kbp.data.checks.values import check_weights
from kbp.data.feeds import ArrayFeed, Feed, feed, in_memory
from kbp.data.formats.arrays import FeedSplits


def split(
    model: keras.Model,
    train: Any,
    validation: Any,
    test: Any,
    loss: Any,
    batch_size: int,
) -> FeedSplits:
    """Return a person's examples as splits that fit model and loss.

    Args:
        model: a functional or Sequential model.
        train: examples with targets, in any form that `fit` takes.
        validation: the same, or `None`.
        test: the same, or `None`: then those of validation, or every tenth of
            the arrays to train on, which is taken out of them.
        loss: what the model is compiled with.
        batch_size: of data sets of single examples.

    Raises:
        ValueError: they do not fit the model or the loss, or a split would be
            empty.
    """
    read = partial(_read, model=model, loss=loss, batch_size=batch_size)
    training = read(train, "The training data")
    watched: Feed | tuple[()] = ()
    if validation is not None:
        watched = read(validation, "The validation data")
    if test is not None:
        judged = in_memory(read(test, "The test data"))
    elif watched:
        judged = in_memory(watched)
    elif isinstance(training, ArrayFeed):
        tenth = np.arange(len(training)) % 10 == 9
        judged = training.take(np.flatnonzero(tenth))
        training = training.take(np.flatnonzero(~tenth))
        every = "of the training data, of which every tenth is set apart,"
        # Whose weights were looked at together.
        check_weights(judged.arrays, f"The examples {every} to judge on")
        check_weights(training.arrays, f"The examples {every} to train on")
    else:
        raise ValueError(
            "Argument `test` or `validation` must be examples, where the "
            "training data are a data set and no arrays."
        )
    if not len(judged):
        raise ValueError(
            f"The training data hold {len(training)} examples, of which none "
            "can be set apart; give `test`."
        )
    (first, *_) = shapes_of(model).values()
    return FeedSplits(training, watched, judged, first)


def of_one_size(model: keras.Model, splits: FeedSplits) -> keras.Model:
    """Return a model whose inputs have the sizes of the examples.

    Args:
        model: a functional or Sequential model.
        splits: its examples.

    Raises:
        ValueError: sizes are open, and examples are of several.
    """
    if all(None not in x.shape[1:] for x in model.inputs):
        return model
    found = [
        feed.input_shapes()
        for feed in (splits.train, splits.validation, splits.test)
        if isinstance(feed, Feed)
    ]
    for shapes in zip(*found, strict=True):
        if None in shapes[0] or len({*shapes}) > 1:
            sizes = " and ".join(dict.fromkeys(map(str, shapes)))
            raise ValueError(
                f"Model {model.name} takes examples of any size, but files "
                "take one: pad or cut all examples to it. Received examples "
                f"of {sizes}"
            )
    fixed = [x.shape[1:] for x in splits.test.arrays.inputs]
    return graph.with_input_shapes(model, fixed)


def _read(
    data: Any, what: str, *, model: keras.Model, loss: Any, batch_size: int
) -> Feed:
    """Return a person's examples, whose targets fit the loss."""
    flat = graph.flatten(model)
    indices = graph.indices_of(flat)

    def check(batch: Batch, before: int) -> None:
        graph.check_indices(indices, batch.inputs, what, before)
        if batch.targets is not None:
            check_targets(batch, flat, loss, what, before)

    return feed(
        data, shapes_of(model), what, batch_size=batch_size, check=check
    )
