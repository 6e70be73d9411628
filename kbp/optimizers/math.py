"""The optimizer's formulas on tensors, in `keras.ops`, without state."""

import math

from keras import ops

from kbp._utils.types import Tensor

# Coefficients of the quintics, one for each iteration, that take singular
# values of 0.005 to 1 nearest to 1, by Remez's algorithm; see Amsel et al.,
# The Polar Express, 2025.
_QUINTICS = (
    (8.298703491437525, -24.43049814821767, 18.090304193078694),
    (3.9152209604606227, -2.9211302321835273, 0.5592232598130895),
    (3.1746036570557674, -2.3804328338954397, 0.4978263935199092),
    (2.1894628397935536, -1.567220683455829, 0.4078871579955795),
)


def corrections(
    t: Tensor, beta_1: float, beta_2: float, power: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the factors that correct the bias of moments that start at zero.

    Args:
        t: the step, 1, 2, ...; a scalar tensor.
        beta_1: decay of the first moment.
        beta_2: decay of the second moment.
        power: the preconditioner's power; at 0 there is no correction.

    Returns:
        Three scalar tensors: the factors of the first moment and of the
        gradient in the look-ahead, and the factor of the second moment's
        root.
    """
    along = beta_1 / ops.power(_rest(beta_1, t + 1), power)
    ahead = (1 - beta_1) / ops.power(_rest(beta_1, t), power)
    return along, ahead, ops.rsqrt(_rest(beta_2, t))


def _rest(beta: float, t: Tensor) -> Tensor:
    # 1 - beta^t, computed without the cancellation of float32.
    return -ops.expm1(t * (math.log(beta) if beta else -math.inf))


def precondition(
    lookahead: Tensor,
    maximum: Tensor,
    unbias: Tensor,
    epsilon: float,
    power: float,
) -> Tensor:
    """Return the elementwise step, `n / (sqrt(vmax_hat) + epsilon)^power`.

    Args:
        lookahead: `n`, the corrected look-ahead of the first moment.
        maximum: the maximum of the second moment.
        unbias: scalar tensor; factor of the second moment's root.
        epsilon: added to the root.
        power: the preconditioner's power.
    """
    scale = ops.sqrt(maximum) * unbias + epsilon
    return lookahead / (scale if power == 1 else ops.power(scale, power))


def matrix_direction(lookahead: Tensor) -> Tensor:
    """Return the orthogonalized (Muon-style) update of kernels.

    Args:
        lookahead: `(..., rows, columns)`, kernels as matrices.

    Returns:
        Tensor of the same shape. Its root mean square is that of an
        elementwise step, about 0.2, so that one learning rate serves both: a
        semi-orthogonal matrix has entries of root mean square
        `1 / sqrt(max(rows, columns))`.
    """
    scale = 0.2 * math.sqrt(max(lookahead.shape[-2:]))
    return orthogonalize(lookahead) * scale


def orthogonalize(matrix: Tensor) -> Tensor:
    """Approximate the semi-orthogonal factor of a matrix's polar form.

    It runs a Newton-Schulz iteration in the matrix's own precision: four times,
    with the Gram matrix `G = X X^T` of the short side,

        A = a I + b G + c G^2,   X = A X

    All are polynomials of the first `G`, so that of a long matrix only two
    products are as long as itself:

        P = A P,   G = A^2 G,   and at the end X = P X

    Before, the matrix is divided by the eighth root of the sum of its singular
    values' eighth powers, the fourth root of the Frobenius norm of `G^2`. It
    bounds the largest one, as the matrix's Frobenius norm does, which lies far
    above it where many are alike; this saves an iteration.

    The singular values of the result are in 0.91 ... 1.09 where those of the
    input are above 0.005 of that norm, below 1.09 elsewhere; zero stays zero.

    Args:
        matrix: `(..., rows, columns)`, one matrix or several.

    Returns:
        Tensor of the same shape.

    Reference:
        Jordan et al., Muon: An optimizer for hidden layers in neural networks,
        2024; Amsel et al., The Polar Express, 2025 (the coefficients).
    """
    rows, columns = matrix.shape[-2:]
    short, long = sorted((rows, columns))
    # Products of short x short: 2 long / short + 13, or 8 long / short + 4.
    by_gram = 2 * long > 3 * short
    x = _transposed(matrix) if rows > columns else matrix
    # Divided by its largest entry first, a tiny matrix has a norm: 1 or more,
    # or 0 for zero.
    largest = ops.max(ops.abs(x), axis=(-2, -1), keepdims=True)
    x = x / ops.where(largest > 0, largest, ops.ones_like(largest))
    gram = ops.matmul(x, _transposed(x))
    square = ops.matmul(gram, gram)
    norm = ops.sqrt(ops.sum(ops.square(square), axis=(-2, -1), keepdims=True))
    norm = ops.maximum(norm, 1.0)
    x, gram, square = x / norm**0.25, gram / norm**0.5, square / norm
    factor = product = one = ops.eye(short, dtype=x.dtype)
    for i, (a, b, c) in enumerate(_QUINTICS):
        if i and by_gram:
            gram = ops.matmul(factor, ops.matmul(factor, gram))
        elif i:
            gram = ops.matmul(x, _transposed(x))
        square = ops.matmul(gram, gram) if i else square
        factor = a * one + b * gram + c * square
        if by_gram:
            product = ops.matmul(factor, product) if i else factor
        else:
            x = ops.matmul(factor, x)
    x = ops.matmul(product, x) if by_gram else x
    return _transposed(x) if rows > columns else x


def _transposed(x: Tensor) -> Tensor:
    return ops.swapaxes(x, -1, -2)


def polar_factor(matrix: Tensor, steps: int = 8) -> Tensor:
    """Return the semi-orthogonal factor of a matrix's polar form.

    It runs the cubic Newton-Schulz iteration, which converges to singular
    values of 1, after `orthogonalize` has brought all of them near 1.

    Args:
        matrix: `(rows, columns)`, whose singular values are above 0.001 of
            the largest.
        steps: number of iterations of the cubic.

    Returns:
        Tensor of the same shape.
    """
    rows, columns = matrix.shape
    x = orthogonalize(matrix)
    x = ops.transpose(x) if rows > columns else x
    for _ in range(steps):
        x = 1.5 * x - 0.5 * ops.matmul(ops.matmul(x, ops.transpose(x)), x)
    return ops.transpose(x) if rows > columns else x
