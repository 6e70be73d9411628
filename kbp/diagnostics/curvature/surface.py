"""The loss on a plane through a model's weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from kbp._utils.arguments import check_integer
from kbp._utils.files import write_atomically
from kbp._utils.style import INK, STYLE, as_svg
from kbp.diagnostics.curvature.mean_loss import MeanLoss
from kbp.errors import UserError


@dataclass(frozen=True, eq=False)
class LossSurface:
    """The loss at `w + a u + b v`, around weights `w`.

    Attributes:
        offsets: values of `a` and of `b`, `(points,)`.
        losses: `(points, points)`, by `a` first.
        directions: `u` and `v`, each with an array for each trained variable.

    Example:
    >>> offsets = np.linspace(-1, 1, 3)
    >>> surface = LossSurface(offsets, offsets[:, None] ** 2 + offsets**2, ())
    >>> surface.svg()[:4]
    '<svg'
    """

    offsets: np.ndarray
    losses: np.ndarray
    directions: tuple[tuple[np.ndarray, ...], ...]

    def svg(self) -> str:
        """Return a map of the losses as SVG text."""
        losses = np.ma.masked_invalid(self.losses.T)
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(5.2, 4.4), layout="constrained")
            axes = figure.subplots()
            mesh = axes.pcolormesh(
                self.offsets, self.offsets, losses, cmap="Blues_r"
            )
            mesh.set_rasterized(True)
            if np.ptp(losses.compressed() if losses.count() else [0.0]) > 0:
                axes.contour(
                    self.offsets,
                    self.offsets,
                    losses,
                    levels=12,
                    colors=INK,
                    linewidths=0.6,
                )
            axes.plot([0], [0], "+", color=INK)
            axes.set_xlabel("along the first direction")
            axes.set_ylabel("along the second")
            axes.set_aspect("equal")
            bar = figure.colorbar(mesh, ax=axes, pad=0.01)
            bar.set_label("loss")
            bar.outline.set_visible(False)
            return as_svg(figure)

    def plot(self, path: str | Path) -> Path:
        """Write a map of the losses.

        Args:
            path: of an SVG file.

        Returns:
            The path.

        Raises:
            UserError: the path has another ending, or cannot be written to.
        """
        if Path(path).suffix.lower() != ".svg":
            raise UserError(f"{path}: name a file that ends in .svg")
        return write_atomically(path, self.svg())


def loss_surface(
    model: keras.Model,
    data: Any,
    *,
    directions: Sequence[Sequence[Any]] | None = None,
    loss: Any = None,
    span: float = 1.0,
    points: int = 21,
    batch_size: int = 32,
    seed: int = 0,
) -> LossSurface:
    """Compute the loss on a plane through a model's weights.

    Random directions are scaled to the weights: each filter, which is what
    makes one output channel of a kernel, gets the norm of the filter that it
    is added to, and vectors, such as biases, stay. Else a network whose weights
    are large would seem to lie in a wide valley.

    Args:
        model: built. Layers compute as at inference.
        data: see `hessian_spectrum`.
        directions: two, each with an array for each trained variable, such as
            `directions` of `hessian_spectrum`; by default random.
        loss: as for `compile`; by default that of the compiled model.
        span: how far to go along each, both ways.
        points: number of points along each.
        batch_size: into which arrays are cut.
        seed: of random directions.

    Returns:
        The losses, perhaps not finite, which can be plotted.

    Raises:
        ValueError: see `hessian_spectrum`; or directions are not two, or not
            of the shapes of the variables.

    Reference:
        Li, Xu, Taylor, Studer and Goldstein, Visualizing the Loss Landscape of
        Neural Nets, 2018, section 4.

    Example:
    >>> import keras, numpy as np, kbp
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> data = np.ones((4, 2)), np.ones((4, 1))
    >>> surface = kbp.diagnostics.loss_surface(
    ...     model, data, loss="mse", points=5)
    >>> surface.losses.shape
    (5, 5)
    """
    check_integer(least=2, points=points)
    if not 0 < span < np.inf:
        raise ValueError(
            f"Argument `span` must be positive and finite. Received: {span}"
        )
    objective = MeanLoss(model, data, loss, batch_size)
    weights = objective.vector()
    if directions is None:
        rng = np.random.default_rng(seed)
        of_filters = [_like(objective.split(weights), rng) for _ in range(2)]
        directions = of_filters
    first, second = _vectors(objective, directions)
    offsets = np.linspace(-span, span, points)
    losses = [
        [objective.value(weights + a * first + b * second) for b in offsets]
        for a in offsets
    ]
    parts = objective.split(first), objective.split(second)
    return LossSurface(offsets, np.array(losses), parts)


def _like(
    weights: Sequence[np.ndarray], rng: np.random.Generator
) -> list[np.ndarray]:
    """Return a random direction whose filters have the weights' norms."""
    return [
        _normalized(rng.normal(size=w.shape), w)
        if w.ndim > 1
        else np.zeros(w.shape)
        for w in weights
    ]


def _normalized(direction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    axes = tuple(range(weights.ndim - 1))
    own, norm = (
        np.sqrt(np.sum(np.square(x, dtype="float64"), axes))
        for x in (direction, weights)
    )
    return direction * (norm / own)


def _vectors(
    objective: MeanLoss, directions: Sequence[Sequence[Any]]
) -> tuple[np.ndarray, np.ndarray]:
    shapes = [tuple(v.shape) for v in objective.variables]
    vectors = []
    for direction in directions:
        arrays = [np.asarray(part, "float64") for part in direction]
        if [array.shape for array in arrays] != shapes:
            raise ValueError(
                "Argument `directions` must hold arrays of the shapes of the "
                f"trained variables, {shapes}. Received: "
                f"{[array.shape for array in arrays]}"
            )
        vectors.append(np.concatenate([array.ravel() for array in arrays]))
    if len(vectors) != 2:
        raise ValueError(
            "Argument `directions` must hold two directions. Received: "
            f"{len(vectors)}"
        )
    return vectors[0], vectors[1]
