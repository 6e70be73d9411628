"""Several trainings from other seeds, of which the best one stays."""

import math
import statistics
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from kbp._utils.arguments import check_integer, check_one_of


@dataclass(frozen=True)
class Starts:
    """What several trainings came to.

    Attributes:
        model: of the best score.
        scores: of each start, on the validation data.
        seeds: of each start.
        best: place of the best one.

    Example:
    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> print(Starts(model, scores=(0.5, 0.3), seeds=(0, 1), best=1))
    2 starts: 0.4 ± 0.14, best 0.3 of seed 1
    """

    model: keras.Model
    scores: tuple[float, ...]
    seeds: tuple[int, ...]
    best: int

    @property
    def mean(self) -> float:
        """Mean of the scores."""
        return statistics.fmean(self.scores)

    @property
    def spread(self) -> float:
        """Standard deviation of the scores; 0 of a single one."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else 0.0

    def __str__(self) -> str:
        return (
            f"{len(self.scores)} starts: {self.mean:.4g} ± {self.spread:.2g}, "
            f"best {self.scores[self.best]:.4g} of seed {self.seeds[self.best]}"
        )


def multi_start(
    build: Callable[[], keras.Model],
    data: Any,
    validation_data: Any,
    *,
    starts: int = 5,
    seed: int = 0,
    monitor: str = "loss",
    mode: str = "min",
    **fit: Any,
) -> Starts:
    """Train a model from several seeds, and keep the best on validation data.

    A seed decides the first weights, dropout and the order of the examples.
    Test data have no part in it: a score on validation data that the best start
    was chosen by flatters it.

    Args:
        build: `build() -> model` returns a new model, compiled.
        data: a data set, or `(x, y)` or `(x, y, sample_weight)`, see `fit`.
        validation_data: likewise, see `evaluate`.
        starts: number of trainings.
        seed: of the first one; the others follow it.
        monitor: what is compared, as `evaluate` names it: `"loss"` or a metric.
        mode: `"min"` or `"max"`, which of two values is better.
        **fit: further arguments of `fit`, such as `epochs`.

    Returns:
        The best model, and the scores of all.

    Raises:
        ValueError: `monitor` is not what the model is evaluated by, no score is
            a finite number, or an argument is out of range.

    Example:
    >>> import keras, numpy as np, kbp
    >>> def build():
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> x = np.eye(2)
    >>> found = kbp.training.multi_start(
    ...     build, (x, x[:, :1]), (x, x[:, :1]), starts=3, verbose=0
    ... )
    >>> found.scores[found.best] == min(found.scores)
    True
    """
    check_integer(starts=starts)
    check_integer(0, seed=seed)
    check_one_of(("min", "max"), mode=mode)

    def scored() -> Iterator[tuple[int, keras.Model, float]]:
        seeds = range(seed, seed + starts)
        for number, model in trained(build, seeds, lambda _: data, fit):
            found = model.evaluate(
                **_parts(validation_data), verbose=0, return_dict=True
            )
            if monitor not in found:
                raise ValueError(
                    f"Argument `monitor` must be one of {[*found]}. "
                    f"Received: monitor={monitor!r}"
                )
            yield number, model, float(found[monitor])

    return best_of(scored(), monitor=monitor, mode=mode)


def trained(
    build: Callable[[], keras.Model],
    seeds: Iterable[int],
    data_of: Callable[[int], Any],
    fit: Mapping[str, Any],
) -> Iterator[tuple[int, keras.Model]]:
    """Train a new model from each of several seeds.

    Args:
        build: `build() -> model` returns a new model, compiled.
        seeds: each decides the first weights, dropout and the order of the
            examples.
        data_of: `data_of(seed) -> data`, a data set, or `(x, y)` or
            `(x, y, sample_weight)`.
        fit: further arguments of `fit`.

    Yields:
        The seed and the model.

    Raises:
        ValueError: what is returned is no model, or is returned again.
    """
    if isinstance(build, keras.Model) or not callable(build):
        raise ValueError(
            "Argument `build` must be a function that returns a new model. "
            f"Received: {type(build).__name__}"
        )
    before = weakref.WeakSet[keras.Model]()
    for seed in seeds:
        keras.utils.set_random_seed(seed)
        model = build()
        if not isinstance(model, keras.Model):
            raise ValueError(
                "Argument `build` must return a model. Received: a function "
                f"that returned {type(model).__name__}"
            )
        if model in before:
            raise ValueError(
                "Argument `build` must return a new model each time. Received: "
                "a function that returned the same one twice"
            )
        before.add(model)
        data = data_of(seed)
        # Of data sets Keras warns that it cannot shuffle them.
        usual = {} if isinstance(data, tuple) else {"shuffle": False}
        model.fit(**_parts(data), **{**usual, **fit})
        yield seed, model


def best_of(
    scored: Iterable[tuple[int, keras.Model, float]],
    *,
    monitor: str = "loss",
    mode: str = "min",
) -> Starts:
    """Keep the best of models as they are trained.

    Args:
        scored: seed, model and score of each; one that is not finite is never
            the best.
        monitor: what the scores are.
        mode: `"min"` or `"max"`, which of two values is better.

    Raises:
        ValueError: no score is a finite number.
    """
    sign = 1 if mode == "min" else -1
    seeds, scores = list[int](), list[float]()
    best: keras.Model | None = None
    place = -1
    for seed, model, score in scored:
        seeds.append(seed)
        scores.append(score)
        if not math.isfinite(score):
            continue  # it diverged
        if best is None or sign * score < sign * scores[place]:
            best, place = model, len(scores) - 1
    if best is None:
        raise ValueError(
            f"All {len(scores)} starts diverged: {monitor} is {scores}. Lower "
            "the learning rate."
        )
    return Starts(best, tuple(scores), tuple(seeds), place)


def _parts(data: Any) -> dict[str, Any]:
    """Return the arguments that data are to `fit` and `evaluate`."""
    parts = data if isinstance(data, tuple) else (data,)
    return dict(zip(("x", "y", "sample_weight"), parts, strict=False))
