"""The optimizer's formulas on tensors, in `keras.ops`, without state."""

import math

from keras import ops

from kbp._utils.types import Tensor

# Coefficients of the quintics, one for each iteration, that take singular
# values of 1e-3 to 1 nearest to 1; Amsel et al., The Polar Express, 2025.
_QUINTICS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
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
    """Return the orthogonalized (Muon-style) update of a kernel.

    Args:
        lookahead: `(..., outputs)`, of which the polar form is taken as a
            matrix `(rows, outputs)`.

    Returns:
        Tensor of the same shape. Its root mean square is that of an
        elementwise step, about 0.2, so that one learning rate serves both: a
        semi-orthogonal matrix has entries of root mean square
        `1 / sqrt(max(rows, outputs))`.
    """
    shape = lookahead.shape
    rows, columns = math.prod(shape[:-1]), shape[-1]
    factor = orthogonalize(ops.reshape(lookahead, (rows, columns)))
    return ops.reshape(factor * 0.2 * math.sqrt(max(rows, columns)), shape)


def orthogonalize(matrix: Tensor) -> Tensor:
    """Approximate the semi-orthogonal factor of a matrix's polar form.

    It runs a Newton-Schulz iteration in the matrix's own precision. The
    singular values of the result are in 0.87 ... 1.13 where those of the input
    are above 0.002 of its Frobenius norm, below 1.13 elsewhere; zero stays
    zero.

    Args:
        matrix: `(rows, columns)`.

    Returns:
        Tensor of the same shape.

    Reference:
        Jordan et al., Muon: An optimizer for hidden layers in neural networks,
        2024; Amsel et al., The Polar Express, 2025 (the coefficients).
    """
    rows, columns = matrix.shape
    x = ops.transpose(matrix) if rows > columns else matrix
    # Divided by its largest entry first, a tiny matrix has a norm: 1 or more,
    # or 0 for zero.
    largest = ops.max(ops.abs(x))
    x = x / ops.where(largest > 0, largest, ops.ones_like(largest))
    x = x / ops.maximum(ops.sqrt(ops.sum(ops.square(x))), 1.0)
    for a, b, c in _QUINTICS:
        gram = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * gram + c * ops.matmul(gram, gram), x)
    return ops.transpose(x) if rows > columns else x


def polar_factor(matrix: Tensor, steps: int = 8) -> Tensor:
    """Return the semi-orthogonal factor of a matrix's polar form.

    It runs the cubic Newton-Schulz iteration, which converges to singular
    values of 1, after `orthogonalize` has brought all of them near 1.

    Args:
        matrix: `(rows, columns)`, whose singular values are above 0.001 of
            its Frobenius norm.
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
