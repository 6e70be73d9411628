"""HybridOptimizer against its formula and Keras's contract."""

import keras
import numpy as np
import pytest
import references
from contracts import as_numpy, check_optimizer
from hypothesis import given, settings
from hypothesis import strategies as st

import kbp


def test_optimizer_keeps_the_contract(tmp_path):
    check_optimizer(
        lambda **options: kbp.HybridOptimizer(0.01, **options), tmp_path
    )


@settings(deadline=None, max_examples=8)
@given(
    st.integers(0, 2**31),
    st.floats(1e-4, 0.5),
    st.floats(0, 0.99),
    st.floats(0, 0.9999),
    st.sampled_from([None, 0.1]),
)
def test_hundred_steps_are_the_formula(seed, lr, beta_1, beta_2, decay):
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(3, 4))
    reference = references.Hybrid(start, lr, beta_1, beta_2, 1e-7, decay or 0)
    variable = keras.Variable(start, dtype="float64")
    optimizer = kbp.HybridOptimizer(
        lr, beta_1=beta_1, beta_2=beta_2, weight_decay=decay
    )
    for _ in range(100):
        gradient = rng.normal(size=(3, 4)) * 10 ** rng.uniform(-3, 3)
        reference.step(gradient)
        optimizer.apply([keras.ops.array(gradient, "float64")], [variable])
    # Keras keeps its scalars in float32: 1e-7, times 100 steps.
    np.testing.assert_allclose(
        as_numpy(variable), reference.w, rtol=1e-5, atol=1e-5 * lr
    )


def test_hundred_float32_steps_are_near_the_formula():
    rng = np.random.default_rng(0)
    start = rng.normal(size=(5, 6))
    reference = references.Hybrid(start, 0.01, 0.9, 0.999, 1e-7)
    variable = keras.Variable(start)
    optimizer = kbp.HybridOptimizer(0.01)
    for _ in range(100):
        gradient = rng.normal(size=(5, 6))
        reference.step(gradient)
        optimizer.apply([keras.ops.array(gradient, "float32")], [variable])
    np.testing.assert_allclose(
        as_numpy(variable), reference.w, rtol=1e-5, atol=1e-5
    )


def test_parabola_is_minimized():
    variable = keras.Variable([5.0, -3.0])
    optimizer = kbp.HybridOptimizer(0.1)
    for _ in range(400):
        optimizer.apply([2 * (variable - [1.0, 2.0])], [variable])
    np.testing.assert_allclose(as_numpy(variable), [1.0, 2.0], atol=1e-3)


def test_second_moment_never_falls():
    variable = keras.Variable([1.0])
    optimizer = kbp.HybridOptimizer(0.1, beta_2=0.5)
    maxima = []
    for gradient in (1.0, 10.0, 0.1, 0.0, 3.0):
        optimizer.apply([keras.ops.array([gradient])], [variable])
        maximum = optimizer._moments[0]["maximum"]
        maxima.append(float(as_numpy(maximum)[0]))
    assert maxima == sorted(maxima)
    assert maxima[1] == maxima[-1]


def test_excluded_variable_does_not_decay():
    kernel, bias = (keras.Variable([1.0], name=n) for n in ("kernel", "bias"))
    optimizer = kbp.HybridOptimizer(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    zero = keras.ops.zeros((1,))
    optimizer.apply([zero, zero], [kernel, bias])
    assert float(as_numpy(kernel)[0]) == pytest.approx(0.95)
    assert float(as_numpy(bias)[0]) == 1.0


def test_missing_gradient_leaves_its_variable(recwarn):
    variables = [keras.Variable([1.0]), keras.Variable([2.0])]
    optimizer = kbp.HybridOptimizer(0.1)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([keras.ops.array([1.0]), None], variables)
    assert float(as_numpy(variables[0])[0]) != 1.0
    assert float(as_numpy(variables[1])[0]) == 2.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta_1": 1.0}, r"`beta_1` must be in \[0, 1\)"),
        ({"beta_2": -0.1}, r"`beta_2` must be in \[0, 1\)"),
        ({"epsilon": 0.0}, "`epsilon` must be positive"),
        ({"learning_rate": -1.0}, "`learning_rate` must be finite"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be finite"),
        ({"weight_decay": -0.1}, "`weight_decay` must be finite"),
    ],
)
def test_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        kbp.HybridOptimizer(**arguments)
