"""Arguments out of range are refused when the optimizer is made."""

import math

import keras
import pytest

import kbp

POSITIVE = ("clipnorm", "global_clipnorm", "clipvalue", "loss_scale_factor")
INTEGERS = (
    *("gradient_accumulation_steps", "ema_overwrite_frequency"),
    "max_skipped_steps",
)
SHARES = (
    *("beta_1", "beta_2", "amsgrad_decay", "preconditioner_power"),
    "ema_momentum",
)
NEVER = (math.nan, math.inf, -math.inf, -1, "x", True, [1.0])
WRONG = [
    *((name, value) for name in POSITIVE for value in (*NEVER, 0)),
    *((name, value) for name in INTEGERS for value in (*NEVER, 0, 0.5)),
    *((name, value) for name in SHARES for value in (*NEVER, 1.5)),
    *(("epsilon", value) for value in (*NEVER, 0)),
    *(("learning_rate", x) for x in NEVER if not isinstance(x, str | list)),
    *(("weight_decay", value) for value in NEVER),
    *(("use_ema", value) for value in (math.nan, 2, "x")),
    *(("matrix_steps", value) for value in ([1], ["x"])),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_arguments_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"Argument `{name}` must ") as error:
        kbp.HybridOptimizer(**{name: value})
    assert "\n" not in str(error.value)
    assert f"Received: {name}=" in str(error.value)


def test_arguments_in_range_survive_a_configuration():
    chosen = {
        "clipnorm": 1,
        "use_ema": True,
        "ema_momentum": 0.5,
        "ema_overwrite_frequency": 3,
        "gradient_accumulation_steps": 2,
        "loss_scale_factor": 8.0,
    }
    optimizer = kbp.HybridOptimizer(**chosen)
    config = type(optimizer).from_config(optimizer.get_config()).get_config()
    assert {name: config[name] for name in chosen} == chosen
    assert isinstance(optimizer, keras.optimizers.Optimizer)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_variables_that_are_no_fractions_are_refused(dtype):
    whole = keras.Variable([1, 0], dtype=dtype, name="count")
    with pytest.raises(ValueError, match=f"Variable count is of {dtype}"):
        kbp.HybridOptimizer().build([keras.Variable([1.0]), whole])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_epsilon_whose_square_is_nothing_is_refused(dtype):
    variable = keras.Variable([1.0], dtype=dtype)
    with pytest.raises(ValueError, match=f"`epsilon` .* variables of {dtype}"):
        kbp.HybridOptimizer(epsilon=1e-16).build([variable])


def test_float64_takes_an_epsilon_as_small_as_it_likes():
    variable = keras.Variable([0.5], dtype="float64")
    optimizer = kbp.HybridOptimizer(0.1, epsilon=1e-30)
    gradient = keras.ops.array([1e-21], dtype="float64")
    optimizer.apply([gradient], [variable])
    step = 0.9 * 0.1 / 0.19 + 1  # Nesterov's first, over sqrt(g^2) = g
    assert float(variable[0]) == pytest.approx(0.5 - 0.1 * step, rel=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("exponent", range(-45, 5, 5))
def test_the_smallest_epsilon_bounds_the_steps_of_all_gradients(exponent):
    variable = keras.Variable([0.5])
    optimizer = kbp.HybridOptimizer(0.1, epsilon=1e-15)
    for _ in range(3):
        optimizer.apply([keras.ops.array([10.0**exponent])], [variable])
    assert abs(float(variable[0]) - 0.5) <= 3 * 0.1 * 1.5
