"""One trial of the forecasting race: a fit."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import keras

from kbp import data
from kbp.benchmarks.forecasting.methods import DATA, METHODS, mean_errors
from kbp.data.datasets import ett
from kbp.optimizers import HybridOptimizer
from kbp.optimizers.groups import decay_kernels_alone
from kbp.optimizers.schedules import warmup_cosine


@dataclass(frozen=True)
class Protocol:
    """The settings that all trials of a race share.

    Attributes:
        batch_size: windows in a batch.
        steps: number of training steps, and the length of the schedule.
        every: number of steps between two evaluations on validation; the
            weights of the best one are kept, and may be the initial ones.
        look: maximum number of windows in such an evaluation, equally spaced.
        warmup: share of the steps in which the learning rate rises linearly;
            it falls to 0 along a cosine in the rest.
        weight_decay: decoupled.
        loss: between the standardized forecasts and the actual values.
        seeds: number of seeds for each figure; a fit without random numbers
            runs once.
    """

    batch_size: int = 32
    steps: int = 2000
    every: int = 250
    look: int = 1000
    warmup: float = 0.1
    weight_decay: float = 0.01
    loss: str = "huber"
    seeds: int = 3


@dataclass(frozen=True)
class Trial:
    """One fit: a method on a data set, with a seed.

    Attributes:
        method: name of one of `METHODS`.
        data: one of `DATA`.
        horizon: number of rows to forecast.
        lookback: number of rows before them that the method sees.
        learning_rate: its peak; 0 if nothing is trained.
        seed: of weights and batches.
    """

    method: str
    data: str
    horizon: int
    lookback: int
    learning_rate: float
    seed: int


class Trainer:
    """Runs trials on the data sets of the race.

    Args:
        protocol: the settings that they share.
        data_dir: the folder that holds the data sets.
    """

    def __init__(self, protocol: Protocol, data_dir: str | Path | None):
        self.protocol, self.data_dir = protocol, data_dir
        for name in DATA:  # missing data is reported at once
            ett.load(name, data_dir, lookback=1, horizon=1)

    def run(self, trial: Trial) -> dict:
        """Fit a method once, and evaluate its forecasts.

        Returns:
            The trial; `validation`, the mean squared error there; `mse` and
            `mae` of all test windows; `parameters`; `seconds` of processor
            time; and the step whose weights were `kept`.
        """
        keras.backend.clear_session()
        keras.utils.set_random_seed(trial.seed)
        splits = ett.load(
            trial.data,
            self.data_dir,
            lookback=trial.lookback,
            horizon=trial.horizon,
        )
        method = METHODS[trial.method]
        start = time.process_time()
        kept = 0
        if method.fit:
            predict, parameters = method.fit(splits, trial.data)
        else:
            build = method.build if trial.learning_rate else method.untrained
            model = build(splits, trial.data)
            kept = self.fit(model, splits, trial)
            parameters, predict = model.count_params(), model.predict_on_batch
        seconds = time.process_time() - start
        validation, _ = mean_errors(predict, splits.validation)
        mse, mae = mean_errors(predict, splits.test)
        return {
            **asdict(trial),
            "validation": validation,
            "mse": mse,
            "mae": mae,
            "parameters": parameters,
            "seconds": seconds,
            "kept": kept,
        }

    def fit(self, model, splits, trial) -> int:
        """Train a model, restore its best weights, and return their step."""
        mine = self.protocol
        if not trial.learning_rate:
            return 0
        schedule = warmup_cosine(
            trial.learning_rate,
            steps=mine.steps,
            warmup_steps=round(mine.warmup * mine.steps),
        )
        optimizer = HybridOptimizer(schedule, weight_decay=mine.weight_decay)
        decay_kernels_alone(optimizer, model)
        model.compile(optimizer, mine.loss)
        batches = iter(
            data.training_batches(
                splits.train, mine.batch_size, seed=trial.seed
            )
        )
        distance = -(-len(splits.validation) // mine.look)
        best, weights, kept = float("inf"), None, 0
        for step in range(mine.steps + 1):
            if step % mine.every == 0 or step == mine.steps:
                error, _ = mean_errors(
                    model.predict_on_batch, splits.validation, distance
                )
                if error < best:
                    best, weights, kept = error, model.get_weights(), step
            if step < mine.steps:
                model.train_on_batch(*next(batches))
        model.set_weights(weights)
        return kept
