"""A person's own Keras model: pruned, quantized, exported, measured."""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from kbp import export, quantization
from kbp._utils import run_files
from kbp._utils.arguments import check_positive
from kbp._utils.files import temporary_folder
from kbp._utils.random_state import kept_random_state
from kbp.data.feeds import StreamFeed
from kbp.data.formats.arrays import FeedSplits
from kbp.errors import UserError
from kbp.recipes.recipe import Recipe
from kbp.reports import report
from kbp.reports.stage import Stage
from kbp.tasks.own_model import OwnModel, try_step
from kbp.training import checkpoint
from kbp.training.own_models.compiled import compile_arguments
from kbp.training.own_models.identity import identity
from kbp.training.own_models.splits import of_one_size, split
from kbp.training.runs import run_task
from kbp.training.techniques.distillation import check_learner
from kbp.training.workdir import folder_for, possible, read_run, resumable


class Compressed:
    """What `compress` made; a notebook shows its table.

    Args:
        folder: of the results.

    Attributes:
        folder: of the results.
        paths: of the files there, by what they are: `"report"`,
            `"saved_model"`, `"float32"`, `"int8"` and the Keras models.
        stages: rows of the table: score, parameters, size and latency of the
            model at each stage.
        run: all that is known of the run, as in `run.json`.

    Example:
    >>> import io, tempfile, keras, numpy as np, kbp
    >>> from rich.console import Console
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> x = np.random.default_rng(0).normal(size=(320, 4)).astype("float32")
    >>> silent = Console(file=io.StringIO())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data = x, x.sum(axis=1)
    ...     made = kbp.compress(
    ...         model,
    ...         data,
    ...         quantization_epochs=0,
    ...         workdir=folder,
    ...         console=silent,
    ...     )
    ...     made.quantized_model.output_shape
    (None, 1)
    """

    def __init__(self, folder: Path):
        self.folder = folder
        names = {
            "model": run_files.MODEL,
            "quantized_model": run_files.QUANTIZED_MODEL,
            "float32": run_files.FLOAT32,
            "int8": run_files.INT8,
            "saved_model": "saved_model",
            "report": "report.html",
        }
        self.paths = {
            name: folder / file
            for name, file in names.items()
            if (folder / file).exists()
        }
        self.run: dict[str, Any] = read_run(folder) or {}
        self.stages = [Stage(**row) for row in self.run["stages"]]

    @cached_property
    def model(self) -> keras.Model:
        """The float model as it was pruned."""
        return checkpoint.load(self.paths["model"])

    @cached_property
    def quantized_model(self) -> keras.Model:
        """The model with fake quantization, to train on or export again."""
        return checkpoint.load(self.paths["quantized_model"])

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=100)
        console.print(report.result_table(self.stages, self.run))
        console.print()
        console.print(report.facts(self.run), markup=False)
        return console.file.getvalue()  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"Compressed({str(self.folder)!r})\n{self}"

    def _repr_html_(self) -> str:
        return report.as_html(self.stages, self.run)


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
    distillation: float = 0.0,
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
            "channel", "scores": "taylor"}`. By default nothing is pruned.
        quantize: whether to train in fake eight bits and write an int8 file.
        epochs: of training in float; by default 10 with `sparsity`, else 0.
        quantization_epochs: of training in fake eight bits; 0 to round after
            training.
        distillation: factor of what the outputs differ by from the given
            model's, in the loss of all training; 0 leaves it out.
        learning_rate: peak of `HybridOptimizer`'s, a tenth in fake eight bits.
        batch_size: of arrays, and of data sets of single examples.
        skip: names of layers to leave in float.
        allow_float: names of LiteRT's operations or of layers that may stay
            float in the int8 file.
        loss: by default that of `compile`.
        metrics: by default those of `compile`; the first one is the score.
        workdir: folder for the results, by default `runs/` and the model's
            name, with a number where that holds another run.
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
    _check(learning_rate, skip=skip, allow_float=allow_float)
    compiled = compile_arguments(model, loss, metrics)
    check_learner(model, distillation)
    folder = possible(workdir or Path("runs") / model.name)
    splits = split(model, train, validation, test, compiled["loss"], batch_size)
    model = of_one_size(model, splits)
    section, epochs = _pruning(sparsity, epochs)
    recipe = Recipe.parse(
        identity(model, splits, compiled)
        | {
            "optimizer": {"learning_rate": learning_rate},
            "sparsity": section,
            "training": {
                "epochs": epochs,
                "batch_size": batch_size,
                "seed": seed,
                "distillation": distillation,
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
    folder = folder if workdir else folder_for(folder, recipe)
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


def _pruning(
    sparsity: float | Mapping[str, Any] | None, epochs: int | None
) -> tuple[dict[str, Any], int]:
    """Return the keys of `[sparsity]`, and the epochs of its training."""
    if not isinstance(sparsity, Mapping):
        sparsity = {"target": sparsity or 0.0}
    if epochs is None:
        epochs = 10 if sparsity.get("target") else 0
    return dict(sparsity), epochs


def _check(learning_rate: float, **lists: Any) -> None:
    """Raise a ValueError for a word where a number or a list must be."""
    check_positive(learning_rate=learning_rate)
    for key, names in lists.items():
        if isinstance(names, str):
            raise ValueError(
                f"Argument `{key}` must be a list of names. Received: "
                f"{key}={names!r}"
            )


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
            path, allowed = Path(folder) / "a.tflite", recipe.export.allow_float
            export.to_tflite(rounded, path, allow_float=allowed)
