"""HybridOptimizer against its formula, its parents and Keras's contract."""

import keras
import numpy as np
import pytest
import references
import tensorflow as tf
from contracts import as_numpy, check_optimizer
from hypothesis import given, settings
from hypothesis import strategies as st

import kbp


def stepping(optimizer, start, dtype="float32"):
    """Return a function of a gradient that gives the variable after it.

    A graph: operation by operation, a hundred steps take a second.
    """
    variable = keras.Variable(start, dtype=dtype)
    optimizer.build([variable])

    @tf.function
    def apply(gradient):
        optimizer.apply([gradient], [variable])
        return variable.value.read_value()

    return lambda gradient: apply(tf.constant(gradient, dtype)).numpy()


def steps_of(optimizer, start, gradients, dtype="float32"):
    """Return the variable after each step."""
    return list(map(stepping(optimizer, start, dtype), gradients))


def random_gradients(shape, count=100, seed=0):
    rng = np.random.default_rng(seed)
    scales = 10 ** rng.uniform(-2, 2, count)
    return [rng.normal(size=shape) * scale for scale in scales]


def assert_same_steps(ours, peer, gradients, *, first=0, atol=1e-6):
    """Check two optimizers' weights after each step from the `first` on."""
    start = np.ones(gradients[0].shape)
    pairs = zip(
        steps_of(ours, start, gradients, "float64"),
        steps_of(peer, start, gradients, "float64"),
        strict=True,
    )
    for a, b in list(pairs)[first:]:
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol)


@pytest.mark.long
def test_optimizer_keeps_the_contract(tmp_path):
    check_optimizer(
        lambda **options: kbp.HybridOptimizer(0.01, **options), tmp_path
    )


@pytest.mark.long
def test_optimizer_with_matrix_steps_keeps_the_contract(tmp_path):
    check_optimizer(
        lambda **options: kbp.HybridOptimizer(
            0.01, matrix_steps=True, **options
        ),
        tmp_path,
    )


@pytest.mark.long
@settings(deadline=None, max_examples=8)
@given(
    st.integers(0, 2**31),
    st.floats(1e-4, 0.1),
    st.floats(0, 0.99),
    st.floats(0, 0.9999),
    st.sampled_from([None, 0.1]),
    st.floats(0, 1),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.booleans(),
)
def test_hundred_steps_are_the_formula(
    seed, lr, beta_1, beta_2, decay, rho, p, matrix
):
    start = np.random.default_rng(seed).normal(size=(3, 2, 4))
    gradients = random_gradients(start.shape, seed=seed)
    reference = references.Hybrid(
        start, lr, beta_1, beta_2, 1e-7, decay or 0, rho, p, matrix
    )
    optimizer = kbp.HybridOptimizer(
        lr,
        beta_1=beta_1,
        beta_2=beta_2,
        weight_decay=decay,
        amsgrad_decay=rho,
        preconditioner_power=p,
        matrix_steps=[matrix],
    )
    expected = [reference.step(gradient) for gradient in gradients]
    values = steps_of(optimizer, start, gradients, "float64")
    # Keras keeps its scalars in float32: 1e-7, times 100 steps.
    for value, right in zip(values, expected, strict=True):
        np.testing.assert_allclose(
            value, right, rtol=1e-5, atol=1e-5 * max(lr, np.abs(right).max())
        )


@pytest.mark.parametrize("matrix", [False, True])
def test_hundred_float32_steps_are_near_the_formula(matrix):
    rng = np.random.default_rng(0)
    start = rng.normal(size=(5, 6))
    reference = references.Hybrid(start, 0.01, matrix=matrix)
    gradients = [rng.normal(size=(5, 6)) for _ in range(100)]
    values = steps_of(
        kbp.HybridOptimizer(0.01, matrix_steps=[matrix]), start, gradients
    )
    for value, gradient in zip(values, gradients, strict=True):
        np.testing.assert_allclose(
            value, reference.step(gradient), rtol=1e-5, atol=1e-5
        )


def test_without_preconditioner_it_is_nesterov_sgd():
    gradients = random_gradients((4, 3))
    ours = kbp.HybridOptimizer(0.1, preconditioner_power=0.0)
    keras_sgd = keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)
    assert_same_steps(ours, keras_sgd, gradients)


def test_without_maximum_it_is_nadam_with_decoupled_decay():
    # Keras's momentum follows a schedule that has reached beta_1 by step 500;
    # until then both see zeros, which leave the moments at zero.
    gradients = [np.zeros((4, 3))] * 500 + random_gradients((4, 3))
    ours = kbp.HybridOptimizer(0.01, amsgrad_decay=0.0, weight_decay=0.1)
    nadam = keras.optimizers.Nadam(0.01, weight_decay=0.1)
    # Nadam decays before the step, which is lr * wd * lr of a step off.
    assert_same_steps(ours, nadam, gradients, first=500, atol=2e-5)


def test_without_momentum_it_is_adam_with_amsgrad():
    gradients = random_gradients((4, 3))
    options = {"beta_1": 0.0, "epsilon": 1e-12}
    ours = kbp.HybridOptimizer(0.01, **options)
    adam = keras.optimizers.Adam(0.01, amsgrad=True, **options)
    assert_same_steps(ours, adam, gradients)


def test_moments_are_as_many_as_the_rule_needs():
    def floats(**options):
        variable = keras.Variable(np.zeros((10, 10)))
        optimizer = kbp.HybridOptimizer(**options)
        optimizer.build([variable])
        return sum(np.prod(v.shape) for v in optimizer.variables) // 100

    assert floats() == 3
    assert floats(amsgrad_decay=0.0) == 2
    assert floats(preconditioner_power=0.0) == 1
    assert floats(matrix_steps=[True]) == 1


@pytest.mark.parametrize("matrix", [False, True])
def test_parabola_is_minimized(matrix):
    rng = np.random.default_rng(0)
    target = rng.normal(size=(4, 3)).astype("float32")
    value = np.zeros((4, 3))
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 400)
    optimizer = kbp.HybridOptimizer(schedule, matrix_steps=[matrix])
    step = stepping(optimizer, value)
    for _ in range(400):
        value = step(2 * (value - target))
    np.testing.assert_allclose(value, target, atol=1e-3)


def test_rosenbrock_is_minimized():
    x, y = -1.0, 1.0
    schedule = keras.optimizers.schedules.CosineDecay(0.05, 1000)
    step = stepping(kbp.HybridOptimizer(schedule, amsgrad_decay=0.99), [x, y])
    for _ in range(1000):
        x, y = step([2 * (x - 1) - 400 * x * (y - x**2), 200 * (y - x**2)])
    np.testing.assert_allclose([x, y], [1.0, 1.0], atol=0.02)


@pytest.mark.parametrize("matrix", [False, True])
def test_ill_conditioned_regression_is_solved(matrix):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 8)) * np.logspace(0, -1.5, 8)
    right = rng.normal(size=(8, 4))
    y = x @ right
    value = np.zeros((8, 4))
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 800)
    optimizer = kbp.HybridOptimizer(schedule, matrix_steps=[matrix])
    step = stepping(optimizer, value)
    for _ in range(800):
        value = step(x.T @ (x @ value - y) / len(x))
    loss = np.mean((x @ value - y) ** 2)
    assert loss < 1e-4 * np.mean(y**2)


def test_second_moment_never_falls():
    variable = keras.Variable([1.0])
    optimizer = kbp.HybridOptimizer(0.1, beta_2=0.5)
    maxima = []
    for gradient in (1.0, 10.0, 0.1, 0.0, 3.0):
        optimizer.apply([keras.ops.array([gradient])], [variable])
        _, _, maximum = optimizer._step.moments[0]
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


def test_missing_gradient_leaves_its_variable_and_moments():
    variables = [keras.Variable([1.0]), keras.Variable([2.0, 3.0])]
    optimizer = kbp.HybridOptimizer(0.1, weight_decay=0.1)
    one = [keras.ops.array([1.0]), keras.ops.array([1.0, -2.0])]
    optimizer.apply(one, variables)
    before = as_numpy(variables[1]).copy()
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([one[0], None], variables)
    np.testing.assert_array_equal(as_numpy(variables[1]), before)

    # The other went on as if it were alone; then both do.
    alone = keras.Variable([1.0])
    other = kbp.HybridOptimizer(0.1, weight_decay=0.1)
    for _ in range(2):
        other.apply([one[0]], [alone])
    assert float(as_numpy(variables[0])[0]) == float(as_numpy(alone)[0])
    optimizer.apply(one, variables)
    state = {}
    optimizer.save_own_variables(state)
    np.testing.assert_allclose(  # two of three gradients, from zero
        state["momentum_1"], np.array([1.0, -2.0]) * (1 - 0.9**2), rtol=1e-6
    )


def test_sparse_gradient_is_a_dense_one():
    tokens = np.array([[1, 3, 3], [0, 1, 5]])

    def trained(lookup):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((3,), dtype="int32"),
                lookup(7, 4),
                keras.layers.Dense(1),
            ]
        )
        model.compile(kbp.HybridOptimizer(0.1, weight_decay=0.1), "mse")
        for _ in range(5):
            model.train_on_batch(tokens, np.ones((2, 3, 1)))
        return model.get_weights()

    class OneHot(keras.layers.Embedding):
        def call(self, inputs):
            return keras.ops.one_hot(inputs, 7) @ self.embeddings

    for a, b in zip(
        trained(keras.layers.Embedding),
        trained(OneHot),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_second_step_does_not_trace_again():
    traces = []

    class Counting(keras.losses.Loss):
        def call(self, y_true, y_pred):
            traces.append(1)
            return keras.ops.mean((y_true - y_pred) ** 2, axis=-1)

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(
        kbp.HybridOptimizer(0.1, matrix_steps=[True, False]), Counting()
    )
    x, y = np.ones((8, 3)), np.ones((8, 2))
    model.fit(x, y, batch_size=2, verbose=0)
    first = len(traces)
    model.fit(x, y, batch_size=2, epochs=3, verbose=0)
    assert len(traces) == first
    functions = [update for _, update in model.optimizer._step.parts]
    counts = [
        f.experimental_get_tracing_count()
        for f in functions
        if hasattr(f, "experimental_get_tracing_count")
    ]
    assert set(counts) == {1}


@pytest.mark.long
@pytest.mark.parametrize("jit", [False, True])
def test_training_in_mixed_precision_and_xla(jit):
    keras.utils.set_random_seed(0)
    policy = keras.mixed_precision.DTypePolicy("mixed_float16")
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, activation="relu", dtype=policy),
            keras.layers.Dense(1, dtype=policy),
        ]
    )
    optimizer = keras.mixed_precision.LossScaleOptimizer(
        kbp.HybridOptimizer(0.05, matrix_steps=True), initial_scale=2.0**30
    )
    model.compile(optimizer, "mse", jit_compile=jit)
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    first = model.evaluate(x, y, verbose=0)
    model.fit(x, y, batch_size=16, epochs=20, verbose=0)
    assert model.evaluate(x, y, verbose=0) < first / 4
    # The first steps overflowed: the wrapper skipped them, not we.
    assert optimizer.inner_optimizer.skipped_steps == 0


@pytest.mark.long
def test_fast_path_is_the_reference_path(monkeypatch):
    from kbp.optimizers import tensorflow_execution as execution

    rng = np.random.default_rng(0)
    shapes = [(200, 200), (5,), (3, 4), (2, 3, 4)]
    starts = [rng.normal(size=shape) for shape in shapes]
    gradients = [[rng.normal(size=s) for s in shapes] for _ in range(20)]

    def trained(optimizer):
        variables = [keras.Variable(start) for start in starts]
        for step in gradients:
            optimizer.apply(
                [keras.ops.array(g, "float32") for g in step], variables
            )
        return [as_numpy(v) for v in variables], optimizer.describe()

    def create():
        return kbp.HybridOptimizer(
            0.01,
            weight_decay=0.1,
            clipnorm=1.0,
            matrix_steps=[False, False, False, True],
        )

    fast, description = trained(create())
    assert description.count("fast path (compiled by XLA") == 4
    assert description.count("with 1 others") == 2
    monkeypatch.setattr(execution, "_xla_works", lambda: False)
    slow, description = trained(create())
    assert description.count("reference path (XLA is not available") == 4
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta_1": 1.0}, r"`beta_1` must be in \[0, 1\)"),
        ({"beta_2": -0.1}, r"`beta_2` must be in \[0, 1\)"),
        ({"epsilon": 0.0}, "`epsilon` must be positive"),
        ({"epsilon": float("inf")}, "`epsilon` must be positive"),
        ({"learning_rate": -1.0}, "`learning_rate` must be finite"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be finite"),
        ({"weight_decay": -0.1}, "`weight_decay` must be finite"),
        ({"weight_decay": "little"}, "`weight_decay` must be finite"),
        ({"beta_1": "x"}, r"`beta_1` must be in \[0, 1\)"),
        ({"amsgrad_decay": 1.1}, r"`amsgrad_decay` must be in \[0, 1\]"),
        ({"preconditioner_power": 2}, "`preconditioner_power` must be in"),
        ({"matrix_steps": "kernel"}, "`matrix_steps` must be a bool or"),
        ({"matrix_steps": [1, 0]}, "`matrix_steps` must be a bool or"),
        ({"max_skipped_steps": 0}, "`max_skipped_steps` must be an integer"),
    ],
)
def test_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        kbp.HybridOptimizer(**arguments)
