"""Kernels of infinitely wide networks beside integrals and wide networks."""

import keras
import numpy as np
import pytest
from scipy import integrate, special

from kbp.diagnostics import infinite_tangent_kernel, tangent_kernel

RNG = np.random.default_rng(0)
X, OTHER = RNG.normal(size=(3, 4)), RNG.normal(size=(2, 4))
FUNCTIONS = {
    "relu": (lambda u: max(u, 0.0), lambda u: float(u > 0)),
    "erf": (special.erf, lambda u: 2 / np.sqrt(np.pi) * np.exp(-(u**2))),
    "tanh": (np.tanh, lambda u: 1 - np.tanh(u) ** 2),
}


def mean_of_product(function, k, k1, k2):
    """Return E[f(u) f(v)], where u is normal, and v beside it."""
    rest = np.sqrt(max(k2 - k**2 / k1, 0.0))

    def density(z):
        return np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)

    def given(z):
        u, middle = np.sqrt(k1) * z, k / np.sqrt(k1) * z
        kinks = [-middle / rest] if rest and abs(middle / rest) < 9 else None
        inside, _ = integrate.quad(
            lambda y: function(middle + rest * y) * density(y),
            *(-9, 9),
            points=kinks,
            epsabs=1e-10,
        )
        return function(u) * inside * density(z)

    return integrate.quad(given, -9, 9, points=[0], epsabs=1e-9)[0]


def reference(x, y, activation, layers, weight, bias):
    """Return both kernels for two examples, by the recursion."""
    function, slope = FUNCTIONS[activation]
    k, k1, k2 = (bias + weight * a @ b / 4 for a, b in ((x, y), (x, x), (y, y)))
    tangent = k
    for _ in range(layers):
        slopes = mean_of_product(slope, k, k1, k2)
        k, k1, k2 = (
            bias + weight * mean_of_product(function, *covariance)
            for covariance in ((k, k1, k2), (k1, k1, k1), (k2, k2, k2))
        )
        tangent = k + weight * slopes * tangent
    return k, tangent


@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_kernels_are_those_of_integrals(activation, layers):
    found = infinite_tangent_kernel(
        X[:1],
        OTHER[:1],
        hidden_layers=layers,
        activation=activation,
        weight_variance=1.5,
        bias_variance=0.2,
    )
    expected = reference(X[0], OTHER[0], activation, layers, 1.5, 0.2)
    np.testing.assert_allclose(
        [found.nngp[0, 0], found.tangent[0, 0]], expected, rtol=2e-6
    )


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_kernels_of_all_pairs_are_those_of_each(activation):
    options = {"activation": activation, "hidden_layers": 2}
    whole = infinite_tangent_kernel(X, **options)
    crossed = infinite_tangent_kernel(X, OTHER, **options)
    for kernel, beside in zip(whole, crossed, strict=True):
        assert kernel.shape == (3, 3)
        assert beside.shape == (3, 2)
        np.testing.assert_allclose(kernel, kernel.T, rtol=1e-6)
        assert np.linalg.eigvalsh(kernel)[0] > 0
    for (i, j), value in np.ndenumerate(crossed.tangent):
        alone = infinite_tangent_kernel(X[[i]], OTHER[[j]], **options)
        np.testing.assert_allclose(alone.tangent, value, rtol=1e-12)


def test_inputs_of_zero_have_finite_kernels():
    for activation in FUNCTIONS:
        found = infinite_tangent_kernel(np.zeros((2, 3)), activation=activation)
        np.testing.assert_array_equal(found.tangent, np.zeros((2, 2)))


class Scaled(keras.layers.Layer):
    """A dense layer in the parametrization of Jacot et al."""

    def __init__(self, units, weight, bias):
        super().__init__()
        self.units, self.scales = units, (weight**0.5, bias**0.5)

    def build(self, shape):
        self.kernel, self.bias = (
            self.add_weight(
                shape=size, initializer=keras.initializers.RandomNormal(0, 1)
            )
            for size in ((shape[-1], self.units), (self.units,))
        )

    def call(self, x):
        weight, bias = self.scales
        return weight * x @ self.kernel / x.shape[-1] ** 0.5 + bias * self.bias


def wide_model(width, layers, activation, weight=2.0, bias=0.1, inputs=4):
    function = keras.ops.erf if activation == "erf" else activation
    hidden = [
        part
        for _ in range(layers)
        for part in (
            Scaled(width, weight, bias),
            keras.layers.Activation(function),
        )
    ]
    return keras.Sequential(
        [keras.Input((inputs,)), *hidden, Scaled(1, weight, bias)]
    )


def seeded(seed, *arguments):
    keras.utils.set_random_seed(seed)
    return wide_model(*arguments)


@pytest.mark.long
@pytest.mark.parametrize(
    ("activation", "layers"),
    [
        *[("relu", 1), ("erf", 1), ("tanh", 1)],
        *(
            pytest.param(name, 2, marks=pytest.mark.slow)
            for name in ("relu", "tanh")
        ),
    ],
)
def test_networks_of_4096_units_have_nearly_the_same(activation, layers):
    # One network's kernel is off by some 3 %, at times 8 %.
    found = np.mean(
        [
            tangent_kernel(seeded(seed, 4096, layers, activation), X, chunk=1)
            for seed in range(4)
        ],
        axis=0,
    )
    expected = infinite_tangent_kernel(
        X,
        hidden_layers=layers,
        activation=activation,
        weight_variance=2.0,
        bias_variance=0.1,
    ).tangent
    assert abs(found - expected).max() < 0.05 * expected.max()
    np.testing.assert_allclose(np.diag(found), np.diag(expected), rtol=0.05)


@pytest.mark.parametrize(
    ("x1", "x2", "options", "words"),
    [
        (X[0], None, {}, "`x1` must be"),
        (X[:0], None, {}, "`x1` must be"),
        (X, OTHER[:, :2], {}, "`x1` and `x2` must have as many"),
        (X, OTHER * np.nan, {}, "`x2` must be .* finite"),
        (X, None, {"activation": "gelu"}, "`activation` must"),
        (X, None, {"hidden_layers": -1}, "`hidden_layers` must"),
        (X, None, {"nodes": 1}, "`nodes` must"),
        (X, None, {"weight_variance": -1.0}, "`weight_variance` must"),
        (X, None, {"bias_variance": np.inf}, "`bias_variance` must"),
    ],
)
def test_arguments_out_of_range_are_said(x1, x2, options, words):
    with pytest.raises(ValueError, match=words):
        infinite_tangent_kernel(x1, x2, **options)
