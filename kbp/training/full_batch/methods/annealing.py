"""Steps that may go uphill, the less the cooler it is."""

import contextlib

import keras
import numpy as np
from scipy import optimize

from kbp.training.full_batch.progress import Finished, Progress
from kbp.training.full_batch.registry import register_method

_FEW = 100  # weights, of which SciPy searches the whole space


@register_method("annealing")
def annealing(
    progress: Progress,
    *,
    radius: float = 5.0,
    temperature: float = 1.0,
    cooling: float = 0.01,
    noise: float = 0.1,
) -> None:
    """Minimize by simulated annealing.

    Up to 100 weights are searched by SciPy's `dual_annealing`, of which a step
    is an iteration: two losses for each weight, and perhaps a local search. It
    takes minutes; `max_seconds` ends it. Of more weights, each step is one of
    the model's optimizer with noise, which is kept if the loss falls, or else
    with probability `exp(-rise / T)` (Metropolis et al. 1953); `T` and the
    noise fall geometrically. The best weights of all are the result.

    Args:
        progress: where to begin, and whom to tell.
        radius: of few weights: how far they are searched around their start.
        temperature: of many: `T` at first, as a share of the loss at the start.
        cooling: `T` at the end, as a share of the first.
        noise: its standard deviation at first, as a share of the root mean
            square of the weights.
    """
    if progress.objective.size <= _FEW:
        _whole_space(progress, radius)
    else:
        _along_the_path(progress, temperature, cooling, noise)


def _whole_space(progress: Progress, radius: float) -> None:
    objective, start = progress.objective, progress.start
    best, lowest, told = start, objective.loss(start), np.inf

    def see(weights: np.ndarray, loss: float) -> None:
        nonlocal best, lowest
        if loss < lowest:
            best, lowest = np.copy(weights), loss
        progress.check()

    def loss_of(weights: np.ndarray) -> float:
        loss = objective.loss(weights)
        see(weights, loss)
        return loss

    def gradient_of(weights: np.ndarray) -> np.ndarray:
        loss, gradient = objective(weights)
        see(weights, loss)
        return gradient

    def tell(*_: object) -> None:
        nonlocal told
        if lowest < told:
            told = lowest
            progress.step(best, lowest)

    try:
        optimize.dual_annealing(
            loss_of,
            np.stack([start - radius, start + radius], axis=1),
            x0=start,
            maxiter=progress.max_steps,
            rng=progress.seed,
            callback=tell,
            minimizer_kwargs={"method": "L-BFGS-B", "jac": gradient_of},
        )
    finally:
        objective.assign(best)
        with contextlib.suppress(Finished):
            tell()


def _along_the_path(
    progress: Progress, temperature: float, cooling: float, noise: float
) -> None:
    objective, weights = progress.objective, progress.start
    rng = np.random.default_rng(progress.seed)
    optimizer = _optimizer(objective.model)
    optimizer.build(objective.weights)
    loss, gradient = objective(weights)
    best, lowest = weights, loss
    hot = temperature * abs(loss)
    scale = noise * float(np.sqrt(np.mean(weights**2)))
    try:
        for number in range(progress.max_steps):
            cold = cooling ** (number / progress.max_steps)
            objective.assign(weights)
            optimizer.apply(objective.split(gradient), objective.weights)
            moved = objective.vector()
            moved += scale * cold * rng.standard_normal(moved.size)
            new_loss, new_gradient = objective(moved)
            rise = new_loss - loss
            if rise <= 0 or rng.random() < np.exp(-rise / (hot * cold)):
                weights, loss, gradient = moved, new_loss, new_gradient
            if loss < lowest:
                best, lowest = weights, loss
            progress.step(weights, loss)
    finally:
        objective.assign(best)


def _optimizer(model: keras.Model) -> keras.optimizers.Optimizer:
    """Return an optimizer like the model's, which has not stepped yet."""
    own = model.optimizer
    return type(own).from_config(own.get_config())
