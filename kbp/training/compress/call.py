"""A person's own Keras model: pruned, quantized, exported, measured."""

import contextlib
import keyword
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console

from kbp import export, graph, quantization
from kbp._compat import compiled_with
from kbp._utils.examples import Batch, shapes_of
from kbp._utils.files import temporary_folder
from kbp._utils.random_state import kept_random_state
from kbp.data.checks.targets import check_targets
from kbp.data.feeds import ArrayFeed, Feed, StreamFeed, feed, in_memory
from kbp.data.formats.arrays import FeedSplits
from kbp.errors import UserError
from kbp.recipes.recipe import Recipe
from kbp.tasks.own_model import OwnModel, check_model, try_step
from kbp.training.compress.result import Compressed
from kbp.training.identity import identity
from kbp.training.runs import run_task
from kbp.training.workdir import possible, read_run, resumable


def compress(
    model: keras.Model,
    train: Any,
    validation: Any = None,
    test: Any = None,
    *,
    sparsity: float | Mapping[str, Any] | None = None,
    quantize: bool = True,
    epochs: int | None = None,
    quantization_epochs: int = 2,
    learning_rate: float = 1e-3,
    batch_size: int = 32,
    skip: Sequence[str] = (),
    allow_float: Sequence[str] = (),
    loss: Any = None,
    metrics: Any = None,
    workdir: str | Path | None = None,
    seed: int = 0,
    console: Console | None = None,
) -> Compressed:
    """Walk the whole road with a Keras model of your own.

    The model trains on in fake eight bits, and is exported, verified and
    measured, as by a recipe: with the same checkpoints, table and
    `report.html`. With `sparsity` it first trains on while its masks close, and
    loses what was pruned; by default nothing is. Stopped, the same call
    continues from the last checkpoint; finished, it shows the results.

    Args:
        model: a compiled functional or Sequential model, which is left as it
            is. Sizes that its inputs leave open become those of the examples,
            which must all have them. A class with a `train_step` of its own
            trains by it.
        train: examples with targets, in any form that `fit` takes: arrays, a
            `tf.data.Dataset`, a `keras.utils.PyDataset`, a generator or a
            function that makes one. A generator is read into memory. Batches of
            arrays are a function of seed and step, so that what was stopped
            ends as if it had not been; data sets must see to that themselves.
        validation: examples to watch the training on.
        test: examples to judge every stage on, which are read into memory; by
            default the validation examples, or every tenth of arrays to train
            on, which is then taken out of them.
        sparsity: share of the prunable weights to prune, such as 0.6; or keys
            of a recipe's `[sparsity]`, such as `{"target": 0.5, "granularity":
            "channel"}`. By default nothing is pruned.
        quantize: whether to train in fake eight bits and write an int8 file.
        epochs: of training in float; by default 10 with `sparsity`, else 0.
        quantization_epochs: of training in fake eight bits; 0 to round after
            training.
        learning_rate: peak of `HybridOptimizer`'s, a tenth in fake eight bits.
        batch_size: of arrays, and of data sets of single examples.
        skip: names of layers to leave in float.
        allow_float: names of LiteRT's operations or of layers that may stay
            float in the int8 file.
        loss: by default that of `compile`.
        metrics: by default those of `compile`; the first one is the score.
        workdir: folder for the results, by default `runs/` and the model's
            name.
        seed: of the batches and of dropout.
        console: where progress and the table go.

    Returns:
        Models, paths and table.

    Raises:
        ValueError: the model is not compiled, or cannot be pruned or quantized
            (the message names the layer); the data do not fit it; the folder
            holds something else. Nothing was written then.

    Example:
    >>> import io, tempfile, keras, numpy as np, kbp
    >>> from rich.console import Console
    >>> x = np.random.default_rng(0).normal(size=(320, 8)).astype("float32")
    >>> y = (x.sum(axis=1) > 0).astype("int32")
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((8,)),
    ...         keras.layers.Dense(16, activation="relu"),
    ...         keras.layers.Dense(2),
    ...     ]
    ... )
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> model.compile(kbp.HybridOptimizer(1e-2), loss, metrics=["accuracy"])
    >>> history = model.fit(x, y, epochs=3, verbose=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = kbp.compress(
    ...         model,
    ...         (x, y),
    ...         workdir=folder,
    ...         quantization_epochs=0,
    ...         console=Console(file=io.StringIO()),
    ...     )
    ...     sorted(result.paths)[:3]
    ['float32', 'int8', 'model']
    >>> [stage.name for stage in result.stages][-1]
    'int8 .tflite'
    """
    compiled = _compiled(model, loss, metrics)
    folder = possible(workdir or Path("runs") / model.name)
    read = partial(
        _read, model=model, loss=compiled["loss"], batch_size=batch_size
    )
    splits = _splits(model, read, train, validation, test)
    model = _of_one_size(model, splits)
    if not isinstance(sparsity, Mapping):
        sparsity = {"target": sparsity or 0.0}
    if epochs is None:
        epochs = 10 if sparsity.get("target") else 0
    recipe = Recipe.parse(
        identity(model, splits, compiled)
        | {
            "optimizer": {"learning_rate": learning_rate},
            "sparsity": dict(sparsity),
            "training": {
                "epochs": epochs,
                "batch_size": batch_size,
                "seed": seed,
            },
            "quantization": {
                "enabled": quantize,
                "epochs": quantization_epochs,
                "learning_rate": learning_rate / 10,
                "skip": list(skip),
            },
            "export": {"allow_float": list(allow_float)},
        }
    )
    with resumable(folder, resume=True), _named_failure(splits):
        if read_run(folder) is None:
            _rehearse(model, splits, recipe, compiled)
        run_task(
            recipe,
            partial(OwnModel, recipe, splits, model, compiled),
            folder,
            resume=True,
            console=console or Console(),
        )
    return Compressed(folder)


def _compiled(model: keras.Model, loss: Any, metrics: Any) -> dict[str, Any]:
    """Return what to compile the stages with."""
    graph.check_untied(model)  # what cannot be rewritten is named first
    check_model(model)
    found = compiled_with(model) if model.compiled else {}
    given = {"loss": loss, "metrics": metrics}.items()
    found |= {key: value for key, value in given if value is not None}
    if found.get("loss") is None:
        raise ValueError(
            f"Model {model.name} is not compiled with a loss. Compile it, or "
            "give `loss` and `metrics`."
        )
    for name in (x.name for x in model.inputs):
        if not name.isidentifier() or keyword.iskeyword(name) or name == "self":
            raise ValueError(
                f"Input {name!r} of model {model.name} cannot be exported: "
                "name it by letters, digits and _, and no word of Python's"
            )
    return {"metrics": None, **found}


def _read(
    data: Any, what: str, *, model: keras.Model, loss: Any, batch_size: int
) -> Feed:
    """Return a person's examples, whose targets fit the loss."""
    flat = graph.flatten(model)

    def check(batch: Batch, before: int) -> None:
        if batch.targets is not None:
            check_targets(batch, flat, loss, what, before)

    return feed(
        data, shapes_of(model), what, batch_size=batch_size, check=check
    )


def _splits(
    model: keras.Model,
    read: Callable[[Any, str], Feed],
    train: Any,
    validation: Any,
    test: Any,
) -> FeedSplits:
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


def _of_one_size(model: keras.Model, splits: FeedSplits) -> keras.Model:
    """Return a model whose inputs have the sizes of the examples.

    Raises:
        ValueError: they are open, and examples are of several sizes.
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


@contextlib.contextmanager
def _named_failure(splits: FeedSplits) -> Iterator[None]:
    """Raise what a data set raised, without TensorFlow's words around it."""
    try:
        yield
    except Exception:
        for examples in (splits.train, splits.validation):
            if isinstance(examples, StreamFeed) and examples.failure:
                raise UserError(str(examples.failure)) from None
        raise


def _rehearse(
    model: keras.Model,
    splits: FeedSplits,
    recipe: Recipe,
    compiled: dict[str, Any],
) -> None:
    """Raise now what the training would, and after it the int8 export."""
    with kept_random_state():
        try_step(model, splits.train, compiled)
        if not recipe.quantization.enabled:
            return
        rounded = quantization.quantize_aware(
            model,
            splits.train.batches(recipe.training.batch_size),
            calibration_examples=32,
            skip=recipe.quantization.skip,
        )
        with temporary_folder() as folder:
            path, allowed = folder / "a.tflite", recipe.export.allow_float
            export.to_tflite(rounded, path, allow_float=allowed)
