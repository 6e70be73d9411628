"""One training of the race, in JAX."""

import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from kbp.benchmarks.optimizer_tasks.contestants import CONTESTANTS
from kbp.benchmarks.optimizer_tasks.tasks import TASKS, Arrays, Task
from kbp.errors import UserError

# Of an evaluation's batch at most so many examples and numbers.
_EXAMPLES, _NUMBERS = 250, 2**24


@dataclass(frozen=True)
class Protocol:
    """The settings that all trials of a race share.

    Attributes:
        decays: lowest and highest product of peak learning rate and weight
            decay, the same for all.
        trials: number of points in the search of each optimizer.
        seeds: number of seeds at the best point.
    """

    decays: tuple[float, float] = (1e-5, 3e-3)
    trials: int = 6
    seeds: int = 5


@dataclass(frozen=True)
class Trial:
    """One training: an optimizer at a point of a task, with a seed.

    Attributes:
        task: name of one of `TASKS`.
        optimizer: name of one of `CONTESTANTS`.
        learning_rate: its peak.
        weight_decay: decoupled; 0 for none.
        seed: of the initial weights, the batches and the augmentation.
        split: what it is evaluated on: `"validation"` in the search, `"test"`
            at the best point.
    """

    task: str
    optimizer: str
    learning_rate: float
    weight_decay: float
    seed: int
    split: str


class Trainer:
    """Runs trials in JAX.

    Args:
        protocol: the settings that they share.
        data_dir: the folder of the data sets that are read from files.
        tasks: those there are.
    """

    def __init__(
        self,
        protocol: Protocol,
        data_dir: str | None,
        tasks: dict[str, Task] = TASKS,
    ):
        self.protocol, self.data_dir, self.tasks = protocol, data_dir, tasks
        self.loaded: dict[str, dict[str, Arrays]] = {}
        for package in ("jax", "optax"):
            # Looked for, not imported: trials run in processes of their own.
            if importlib.util.find_spec(package) is None:
                raise UserError(
                    f"optimizer-tasks needs {package}; install it by: pip "
                    "install 'kbp[races]'"
                )

    def run(self, trial: Trial) -> dict:
        """Train once.

        Returns:
            The trial; `curve`, the mean score after each `evaluate_every`
            steps; `score`, the last one; `steps_to_target`, or `None`;
            `seconds` of processor time for one training step. A search stops
            when it reaches the target, any training when it diverges.
        """
        if keras.backend.backend() != "jax":
            raise UserError("optimizer-tasks runs with KERAS_BACKEND=jax alone")
        task = self.tasks[trial.task]
        if trial.task not in self.loaded:
            self.loaded[trial.task] = task.load(self.data_dir)
        training = Training(task, trial, self.loaded[trial.task])
        curve: list[float] = []
        seconds: list[float] = []
        for _ in range(task.steps // task.evaluate_every):
            begin = time.process_time()
            finite = training.go_on(task.evaluate_every)
            seconds.append(time.process_time() - begin)
            curve.append(training.score())
            reached = steps_to_target(task, curve) is not None
            if not finite or (reached and trial.split != "test"):
                break
        return {
            **asdict(trial),
            "curve": curve,
            "score": curve[-1],
            "steps_to_target": steps_to_target(task, curve),
            "seconds": float(np.median(seconds)) / task.evaluate_every,
        }


class Training:
    """A training that goes on step by step.

    Args:
        task: what is trained.
        trial: with which optimizer.
        arrays: of the task, to train on and to judge by.
    """

    def __init__(self, task: Task, trial: Trial, arrays: dict[str, Arrays]):
        import jax

        keras.backend.clear_session()
        keras.utils.set_random_seed(trial.seed)
        self.task, self.judged = task, arrays[trial.split]
        self.inputs, self.labels = arrays["train"]
        self.augment = task.augment and jax.jit(task.augment)
        shape = self._batch(np.arange(task.batch_size), trial.seed)[0].shape
        self.model = task.build(shape[1:])
        self.stepper = CONTESTANTS[trial.optimizer].make(
            self.model, trial.learning_rate, trial.weight_decay, task.steps
        )
        weights = [v.value for v in self.model.trainable_variables]
        others = [v.value for v in self.model.non_trainable_variables]
        self.state = self.stepper.begin(weights), weights, others
        self.indices = _indices(len(self.inputs), task.batch_size, trial.seed)
        self.key = trial.seed
        self._step = jax.jit(self._stepped)
        self._score = jax.jit(self._scored())

    def go_on(self, steps: int) -> bool:
        """Train, and say whether the loss is still finite."""
        loss = np.nan
        for _ in range(steps):
            self.key += 1_000_003
            batch = self._batch(next(self.indices), self.key)
            self.state, loss = self._step(self.state, *batch)
        return bool(np.isfinite(float(loss)))

    def score(self) -> float:
        """Return the mean score of the examples to judge by."""
        inputs, labels = self.judged
        state, weights, others = self.state
        weights = self.stepper.evaluated(state, weights)
        size = max(1, min(_EXAMPLES, _NUMBERS // inputs[0].size))
        scores = [
            self._score(
                weights,
                others,
                inputs[begin : begin + size],
                labels[begin : begin + size],
            )
            for begin in range(0, len(inputs), size)
        ]
        return float(np.concatenate(scores).astype("float64").mean())

    def _batch(self, indices: np.ndarray, seed: int) -> tuple[Any, Any]:
        inputs, labels = self.inputs[indices], self.labels[indices]
        if self.augment is None:
            return inputs, labels
        import jax

        return self.augment(jax.random.key(seed), inputs, labels)

    def _stepped(self, state: Any, inputs: Any, labels: Any) -> Any:
        import jax

        moments, weights, others = state
        loss = self.task.loss()

        def of(weights: list) -> tuple[Any, list]:
            outputs, changed = self.model.stateless_call(
                weights, others, inputs, training=True
            )
            return loss(labels, outputs), changed

        (value, changed), gradients = jax.value_and_grad(of, has_aux=True)(
            weights
        )
        moments, weights = self.stepper.step(
            moments, weights, gradients, lambda weights: of(weights)[0]
        )
        return (moments, weights, changed), value

    def _scored(self) -> Callable[..., Any]:
        """Return a function that scores examples, of a size of their own."""
        shape, model = self.judged[0].shape[1:], self.model
        if shape != model.input_shape[1:]:
            model = self.task.build(shape)

        def scored(weights: list, others: list, x: Any, labels: Any) -> Any:
            outputs, _ = model.stateless_call(
                weights, others, x, training=False
            )
            return self.task.score(labels, outputs)

        return scored


def steps_to_target(task: Task, curve: list[float]) -> int | None:
    """Return after how many steps a task's target was reached, or `None`."""
    for number, score in enumerate(curve, start=1):
        reached = score >= task.target if task.higher else score <= task.target
        if reached:
            return number * task.evaluate_every
    return None


def _indices(count: int, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the indices of batches, in a new order in each epoch."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(count)
        for begin in range(0, count - batch_size + 1, batch_size):
            yield order[begin : begin + batch_size]
