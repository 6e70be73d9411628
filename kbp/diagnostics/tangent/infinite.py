"""Kernels of dense networks that are infinitely wide."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kbp._utils.arguments import check_integer, check_one_of, check_penalty

# E[f(u) f(v)] and E[f'(u) f'(v)], by the covariance of u and v and their
# variances.
Moments = Callable[
    [np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]
]


class InfiniteKernels(NamedTuple):
    """Kernels of an infinitely wide network.

    Attributes:
        nngp: covariance of the outputs of random networks, which are a Gaussian
            process.
        tangent: the tangent kernel, which stays as it is in training.

    Example:
    >>> import numpy as np, kbp
    >>> found = kbp.diagnostics.infinite_tangent_kernel(np.eye(3))
    >>> found.nngp.shape, bool((found.tangent >= found.nngp).all())
    ((3, 3), True)
    """

    nngp: np.ndarray
    tangent: np.ndarray


def infinite_tangent_kernel(
    x1: np.ndarray,
    x2: np.ndarray | None = None,
    *,
    hidden_layers: int = 1,
    activation: str = "relu",
    weight_variance: float = 2.0,
    bias_variance: float = 0.0,
    nodes: int = 100,
) -> InfiniteKernels:
    """Compute the kernels of a dense network that is infinitely wide.

    Its layers compute `sqrt(weight_variance / inputs) W a + sqrt(bias_variance)
    b` with all of `W` and `b` drawn from the normal distribution and trained
    (the parametrization of Jacot et al.), the last without an activation `f`:

        K = bias_variance + weight_variance x1 . x2 / inputs,  T = K, then
        K' = bias_variance + weight_variance E[f(u) f(v)],
        T' = K' + weight_variance E[f'(u) f'(v)] T,

    where `u` and `v` are normal, with the covariances that `K` has.

    Args:
        x1: `(n1, inputs)`.
        x2: `(n2, inputs)`; by default `x1`.
        hidden_layers: number of layers with an activation.
        activation: `"relu"` or `"erf"`, in closed form (Cho and Saul 2009;
            Williams 1997), or `"tanh"`, by the trapezoidal rule.
        weight_variance: of all layers; 2 keeps the signals of ReLU as large as
            they are.
        bias_variance: of all layers.
        nodes: of the quadrature, along each of its two axes.

    Returns:
        `nngp` and `tangent`, `(n1, n2)` each, of each output.

    Raises:
        ValueError: shapes do not fit, or an argument is out of range.

    Reference:
        Jacot, Gabriel and Hongler, Neural Tangent Kernel, 2018; Lee et al.,
        Wide Neural Networks of Any Depth Evolve as Linear Models Under
        Gradient Descent, 2019, appendix E.

    Example:
    >>> import numpy as np, kbp
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> kernels = kbp.diagnostics.infinite_tangent_kernel(x)
    >>> kernels.tangent.round(3).tolist()
    [[2.0, 0.318], [0.318, 2.0]]
    """
    check_integer(least=0, hidden_layers=hidden_layers)
    check_integer(least=2, nodes=nodes)
    check_one_of(tuple(_MOMENTS), activation=activation)
    check_penalty(weight_variance=weight_variance, bias_variance=bias_variance)
    one = np.asarray(x1, "float64")
    two = one if x2 is None else np.asarray(x2, "float64")
    for name, x in (("x1", one), ("x2", two)):
        if x.ndim != 2 or not x.size or not np.isfinite(x).all():
            raise ValueError(
                f"Argument `{name}` must be of shape (examples, inputs), and "
                f"finite. Received: {x.shape}"
            )
    if one.shape[1] != two.shape[1]:
        raise ValueError(
            "Arguments `x1` and `x2` must have as many inputs. Received: "
            f"{one.shape} and {two.shape}"
        )
    moments = _MOMENTS[activation](nodes)

    def layer(second: np.ndarray) -> np.ndarray:
        return bias_variance + weight_variance * second

    width = one.shape[1]
    kernel = layer(one @ two.T / width)
    own, other = (layer(np.mean(x**2, axis=1)) for x in (one, two))
    tangent = kernel
    for _ in range(hidden_layers):
        values, slopes = moments(kernel, own[:, None], other)
        kernel = layer(values)
        tangent = kernel + weight_variance * slopes * tangent
        own, other = (layer(moments(v, v, v)[0]) for v in (own, other))
    return InfiniteKernels(kernel, tangent)


def _relu(nodes: int) -> Moments:
    """Return moments by the arc-cosine kernels of orders 1 and 0."""

    def moments(
        k: np.ndarray, k1: np.ndarray, k2: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        scale = np.sqrt(k1 * k2)
        cosine = np.clip(k / np.where(scale > 0, scale, 1.0), -1, 1)
        angle = np.arccos(cosine)
        rest = np.pi - angle
        values = scale * (np.sin(angle) + rest * cosine) / (2 * np.pi)
        return values, rest / (2 * np.pi)

    return moments


def _erf(nodes: int) -> Moments:
    """Return moments by the arcsine kernel."""

    def moments(
        k: np.ndarray, k1: np.ndarray, k2: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        square = (1 + 2 * k1) * (1 + 2 * k2)
        values = 2 / np.pi * np.arcsin(2 * k / np.sqrt(square))
        return values, 4 / np.pi / np.sqrt(square - 4 * k**2)

    return moments


def _tanh(nodes: int) -> Moments:
    """Return moments by quadrature over two independent normal variables.

    Of functions with poles as near as those of tanh, equal distances give seven
    digits where Gauss and Hermite's nodes, as many, give three.
    """
    points = np.linspace(-8, 8, nodes)
    weights = np.exp(-(points**2) / 2)
    weights /= weights.sum()

    def of_pairs(
        k: np.ndarray, k1: np.ndarray, k2: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        scale = np.sqrt(k1)
        along = k / np.where(scale > 0, scale, 1.0)
        across = np.sqrt(np.maximum(k2 - along**2, 0.0))
        u = np.tanh(scale[:, None] * points)  # (pairs, nodes)
        v = np.tanh(
            along[:, None, None] * points[:, None]
            + across[:, None, None] * points
        )  # (pairs, nodes, nodes)
        first = np.einsum("pi,i,pij,j->p", u, weights, v, weights)
        second = np.einsum(
            "pi,i,pij,j->p", 1 - u**2, weights, 1 - v**2, weights
        )
        return first, second

    def moments(*covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        arrays = np.broadcast_arrays(*covariances)
        flat = np.stack([a.ravel() for a in arrays])
        parts = [
            of_pairs(*flat[:, start : start + 256])
            for start in range(0, flat.shape[1], 256)  # some MB at a time
        ]
        values, slopes = map(np.concatenate, zip(*parts, strict=True))
        return values.reshape(arrays[0].shape), slopes.reshape(arrays[0].shape)

    return moments


_MOMENTS: dict[str, Callable[[int], Moments]] = {
    "relu": _relu,
    "erf": _erf,
    "tanh": _tanh,
}
