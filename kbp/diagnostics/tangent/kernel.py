"""The tangent kernel of a network, at its present weights."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kbp._utils.arguments import check_integer, check_one_of
from kbp._utils.examples import check_arrays
from kbp._utils.types import Tensor
from kbp.diagnostics import backends
from kbp.diagnostics.weights import (
    others,
    rows,
    scope,
    tensors,
    trained,
    values,
)

_MOST = 2**26  # elements of a Jacobian in memory, 256 MB in float32
_PIECE = 10_000  # columns of Jacobians that are multiplied at a time


@dataclass(frozen=True, eq=False)
class KernelSpectrum:
    """Eigenvalues of a kernel of examples with themselves.

    Attributes:
        eigenvalues: in descending order.

    Example:
    >>> KernelSpectrum(np.array([8.0, 2.0])).condition_number
    4.0
    """

    eigenvalues: np.ndarray

    @property
    def condition_number(self) -> float:
        """The largest over the smallest; infinite where that is 0 or below.

        Gradient descent on squares takes about that many steps.
        """
        largest, smallest = self.eigenvalues[0], self.eigenvalues[-1]
        return float(largest / smallest) if smallest > 0 else np.inf


def kernel_spectrum(kernel: np.ndarray) -> KernelSpectrum:
    """Return the eigenvalues of a kernel, which say how fast what is learned.

    Rounding in float32 blurs those below some 1e-6 of the largest.

    Args:
        kernel: `(n, n)` or `(n, n, outputs, outputs)`, see `tangent_kernel`.

    Raises:
        ValueError: it is no kernel of examples with themselves.

    Example:
    >>> import numpy as np, kbp
    >>> found = kbp.diagnostics.kernel_spectrum(np.diag([1.0, 5.0]))
    >>> found.eigenvalues.tolist(), found.condition_number
    ([5.0, 1.0], 5.0)
    """
    matrix = as_matrix(kernel)
    return KernelSpectrum(np.linalg.eigvalsh(matrix)[::-1])


def as_matrix(kernel: np.ndarray) -> np.ndarray:
    """Return a kernel of examples with themselves as a symmetric matrix.

    Raises:
        ValueError: it is no such kernel.
    """
    kernel = np.asarray(kernel, "float64")
    (n, m), pair = (*kernel.shape, 0, 0)[:2], kernel.shape[2:]
    right = kernel.ndim == 2 or (kernel.ndim == 4 and pair[0] == pair[1])
    if not right or n != m or not n or not np.isfinite(kernel).all():
        raise ValueError(
            "Argument `kernel` must be finite, of shape (n, n) or (n, n, "
            f"outputs, outputs). Received: {kernel.shape}"
        )
    if kernel.ndim == 4:
        kernel = flattened(kernel)
    if abs(kernel - kernel.T).max() > 1e-4 * abs(kernel).max():
        raise ValueError("Argument `kernel` must be symmetric.")
    return (kernel + kernel.T) / 2


def flattened(kernel: np.ndarray) -> np.ndarray:
    """Return `(n1, n2, outputs, outputs)` as `(n1 outputs, n2 outputs)`."""
    n1, n2, outputs, _ = kernel.shape
    return kernel.transpose(0, 2, 1, 3).reshape(n1 * outputs, n2 * outputs)


def tangent_kernel(
    model: keras.Model,
    x1: Any,
    x2: Any = None,
    *,
    outputs: str = "mean",
    chunk: int | None = None,
) -> np.ndarray:
    """Compute the tangent kernel of a network, `J(x1) J(x2)^T`.

    The Jacobian `J` is that of the outputs in the trained weights. The kernel
    says how far a step on one example moves the outputs for another; of wide
    networks it stays as it is in training, which it then determines: see
    `predict_dynamics`.

    Args:
        model: built, of one or more outputs. Layers compute as at inference.
        x1: inputs of `n1` examples, as for `predict`.
        x2: inputs of `n2` others; by default `x1`.
        outputs: `"mean"` over the outputs, `sum_o J_o J_o^T / outputs`, which
            is what `infinite_tangent_kernel` gives; `"trace"`, their sum; or
            `"full"`, for each pair of outputs.
        chunk: number of examples whose Jacobians are in memory, twice; by
            default those that make up 256 MB.

    Returns:
        `(n1, n2)`, or `(n1, n2, outputs, outputs)` if full, in the type of the
        weights.

    Raises:
        ValueError: the model is not built or has no weights of floats, or an
            argument is out of range or empty.

    Reference:
        Jacot, Gabriel and Hongler, Neural Tangent Kernel: Convergence and
        Generalization in Neural Networks, 2018.

    Example:
    >>> import keras, numpy as np, kbp
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> kbp.diagnostics.tangent_kernel(model, np.array([[1.0, 2.0], [0, 1]]))
    array([[6., 3.],
           [3., 2.]], dtype=float32)
    """
    check_one_of(("mean", "trace", "full"), outputs=outputs)
    if chunk is not None:
        check_integer(chunk=chunk)
    jacobians = Jacobians(model)
    same = x2 is None
    x2 = x1 if same else x2
    n1, n2 = rows(x1, "x1"), rows(x2, "x2")
    check_arrays(model, x1)
    if not same:
        check_arrays(model, x2)
    width, size = jacobians.of(x1, slice(0, 1)).shape[1:]
    if chunk is None:
        chunk = max(1, _MOST // (width * size))
    shape = (n1, n2, width, width) if outputs == "full" else (n1, n2)
    kernel = np.zeros(shape, jacobians.dtype)
    last, two = slice(0), np.empty(0)
    for start in range(0, n1, chunk):
        own = slice(start, min(start + chunk, n1))
        # Backwards, a row of a kernel that is symmetric ends with the examples
        # that the next one begins with.
        one = two if same and own == last else jacobians.of(x1, own)
        for begin in reversed(range(start if same else 0, n2, chunk)):
            other = slice(begin, min(begin + chunk, n2))
            if same and own == other:
                kernel[own, own] = _block(one, one, outputs)
                continue
            two, last = jacobians.of(x2, other), other
            kernel[own, other] = block = _block(one, two, outputs)
            if same:
                kernel[other, own] = block.transpose((1, 0, 3, 2)[: block.ndim])
    return kernel / width if outputs == "mean" else kernel


def _block(one: np.ndarray, two: np.ndarray, outputs: str) -> np.ndarray:
    """Return the kernel of Jacobians, `(examples, outputs, weights)` each."""
    (n1, width, size), n2 = one.shape, len(two)
    if outputs != "full":  # the sum over outputs and weights
        return _product(one.reshape(n1, -1), two.reshape(n2, -1))
    product = _product(one.reshape(-1, size), two.reshape(-1, size))
    return product.reshape(n1, width, n2, width).transpose(0, 2, 1, 3)


def _product(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Return `one @ two.T` by Keras's backend, piece by piece.

    NumPy's threads wait for each other in loops, which takes ten times as long
    where others compute, too.
    """
    convert = backends.of_keras().tensor
    found = np.zeros((len(one), len(two)), one.dtype)
    for start in range(0, one.shape[1], _PIECE):
        part = slice(start, start + _PIECE)
        product = keras.ops.matmul(
            convert(one[:, part]), convert(two[:, part].T)
        )
        found += keras.ops.convert_to_numpy(product)
    return found


class Jacobians:
    """The Jacobians of a model's outputs in its weights, example by example.

    Args:
        model: built.

    Raises:
        ValueError: the model is not built or has no weights of floats.
    """

    def __init__(self, model: keras.Model):
        self._variables, self._others = trained(model), others(model)
        self.dtype = str(self._variables[0].dtype)
        sizes = [math.prod(v.shape) for v in self._variables]
        self._borders = [0, *np.cumsum(sizes).tolist()]
        backend = backends.of_keras()

        def jacobian(weights: list[Tensor], rest: Any, x: Any) -> list[Tensor]:
            def outputs(weights: list[Tensor]) -> Tensor:
                variables = [*self._variables, *self._others]
                with scope(variables, [*weights, *rest]):
                    found = keras.tree.flatten(model(x, training=False))
                return keras.ops.concatenate(
                    [keras.ops.ravel(y) for y in found]
                )

            return backend.jacobian(outputs, weights)

        self._jacobian = backend.traced(jacobian)

    def of(self, x: Any, chosen: slice) -> np.ndarray:
        """Return the Jacobians of some examples, `(chosen, outputs, weights)`.

        Args:
            x: inputs, an array or a structure of them.
            chosen: examples.
        """
        weights, rest = values(self._variables), values(self._others)
        count = chosen.stop - chosen.start
        found = np.empty(0)
        for row in range(count):
            n = chosen.start + row
            one = keras.tree.map_structure(lambda x, n=n: x[n : n + 1], x)
            parts = self._jacobian(weights, rest, tensors(one, self.dtype))
            arrays = [keras.ops.convert_to_numpy(part) for part in parts]
            width = len(arrays[0])
            if not row:
                found = np.empty((count, width, self._borders[-1]), self.dtype)
            for array, i, j in zip(
                arrays, self._borders[:-1], self._borders[1:], strict=True
            ):
                found[row, :, i:j] = array.reshape(width, -1)
        return found
