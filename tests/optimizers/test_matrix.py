"""Matrix steps: their band, their scale, and which variables take them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts import as_numpy

import kbp
from kbp.optimizers.math import matrix_direction, orthogonalize, polar_factor

# Of orthogonalize, for singular values above 0.005 of their 8-norm.
BAND = (0.91, 1.09)


def singular_values(matrix):
    return np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)


@pytest.mark.parametrize(
    "shape", [(8, 8), (64, 64), (90, 16), (16, 90), (16, 24), (16, 25)]
)
def test_factor_is_nearly_orthogonal(shape):
    rng = np.random.default_rng(0)
    rank = min(shape)
    u, _ = np.linalg.qr(rng.normal(size=(shape[0], rank)))
    v, _ = np.linalg.qr(rng.normal(size=(shape[1], rank)))
    s = np.geomspace(0.01, 1, rank)
    matrix = (u * s @ v.T).astype("float32")
    assert s.min() / np.linalg.norm(s, 8) > 0.005
    values = singular_values(orthogonalize(matrix))
    assert BAND[0] <= values.min() <= values.max() <= BAND[1]
    # The nearest one, not any: same singular vectors.
    np.testing.assert_allclose(
        np.asarray(polar_factor(matrix)), u @ v.T, atol=2e-4
    )


@pytest.mark.parametrize("scale", [1e-25, 1e-15, 1e-6, 1e6, 1e15])
def test_factor_does_not_depend_on_the_scale(scale):
    matrix = np.random.default_rng(0).normal(size=(12, 5)).astype("float32")
    np.testing.assert_allclose(
        np.asarray(orthogonalize(matrix * np.float32(scale))),
        np.asarray(orthogonalize(matrix)),
        rtol=0,
        atol=2e-4,  # float32 rounding of the input, times the slope at zero
    )


def test_zero_matrix_has_a_zero_step():
    zero = tf.zeros((4, 3))
    for step in (
        matrix_direction,
        tf.function(matrix_direction, jit_compile=True),
    ):
        np.testing.assert_array_equal(np.asarray(step(zero)), zero)


@pytest.mark.parametrize("shape", [(72, 16), (32, 10), (10, 32), (4, 30, 7)])
def test_step_has_the_root_mean_square_of_an_elementwise_one(shape):
    rng = np.random.default_rng(0)
    step = matrix_direction(rng.normal(size=shape).astype("float32"))
    assert step.shape == shape
    size = np.sqrt(np.mean(np.asarray(step) ** 2))
    assert 0.2 * BAND[0] <= size <= 0.2 * BAND[1]


def test_step_scales_with_the_learning_rate_alone():
    gradient = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")

    def step(rate, scale):
        variable = keras.Variable(np.zeros((6, 4)))
        optimizer = kbp.HybridOptimizer(rate, matrix_steps=[True])
        optimizer.apply([keras.ops.array(gradient * scale)], [variable])
        return as_numpy(variable)

    once = step(0.01, 1.0)
    np.testing.assert_allclose(step(0.03, 1.0), 3 * once, rtol=1e-5)
    np.testing.assert_allclose(step(0.01, 100.0), once, rtol=1e-4, atol=1e-7)


def network():
    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="convolution")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(6, name="hidden")(x)
    return keras.Model(inputs, layers.Dense(3, name="classes")(x))


def matrices(model, choice=True):
    optimizer = kbp.HybridOptimizer(matrix_steps=choice)
    optimizer.build(model.trainable_variables)
    names = [v.path for v in model.trainable_variables]
    return [
        name
        for name, line in zip(
            names, optimizer.describe().splitlines(), strict=True
        )
        if ": matrix" in line
    ]


def test_kernels_but_the_last_take_matrix_steps():
    assert matrices(network()) == ["convolution/kernel", "hidden/kernel"]
    tokens = keras.Input((5,), dtype="int32")
    x = keras.layers.Embedding(9, 4, name="embedding")(tokens)
    x = kbp.layers.PositionEmbedding(name="position")(x)
    x = keras.layers.Dense(4, name="hidden")(x)
    x = keras.layers.Dense(2, name="classes")(x)
    assert matrices(keras.Model(tokens, x)) == ["hidden/kernel"]


def test_choice_by_shape_and_by_layer():
    model = network()
    variables = model.trainable_variables
    by_shape = [len(v.shape) == 4 for v in variables]
    assert matrices(model, by_shape) == [
        "convolution/kernel",
        "depthwise/kernel",
    ]
    chosen = {id(model.get_layer("classes").kernel)}
    by_layer = [id(v) in chosen for v in variables]
    assert matrices(model, by_layer) == ["classes/kernel"]


@pytest.mark.long
def test_routing_survives_saving_cloning_and_wrapping(tmp_path):
    def decisions(model):
        return [
            ": matrix" in line
            for line in model.optimizer.describe().splitlines()
        ]

    model = network()
    model.compile(kbp.HybridOptimizer(matrix_steps=True), "mse")
    x, y = np.ones((2, 8, 8, 3)), np.ones((2, 3))
    model.train_on_batch(x, y)
    expected = decisions(model)
    assert sum(expected) == 2

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert decisions(loaded) == expected

    config = model.optimizer.get_config()
    for other in (
        keras.models.clone_model(model),
        keras.Sequential(
            [keras.Input((8, 8, 3)), keras.models.clone_model(model)]
        ),
    ):
        other.compile(kbp.HybridOptimizer.from_config(config), "mse")
        other.train_on_batch(x, y)
        assert decisions(other) == expected

    # With one layer more the old decisions fit no longer, and it says so.
    grown = keras.Sequential([model, keras.layers.Dense(2)])
    grown.compile(kbp.HybridOptimizer.from_config(config), "mse")
    with pytest.raises(ValueError, match="Received: 10 for 12 variables"):
        grown.train_on_batch(x, np.ones((2, 2)))


def test_vector_cannot_take_matrix_steps():
    optimizer = kbp.HybridOptimizer(matrix_steps=[True])
    with pytest.raises(ValueError, match="True for bias of shape"):
        optimizer.build([keras.Variable([1.0], name="bias")])


def test_description_wants_a_built_optimizer():
    with pytest.raises(ValueError, match=r"call `optimizer.build"):
        kbp.HybridOptimizer().describe()
    text = kbp.HybridOptimizer(weight_decay=0.1)
    text.build([keras.Variable(np.ones((2, 2)), name="kernel")])
    assert "fast path (compiled by XLA, alone), decays" in text.describe()


def test_stiefel_constraint_keeps_a_kernel_orthonormal():
    keras.utils.set_random_seed(0)
    constraint = kbp.optimizers.StiefelConstraint(scale=2.0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(5, 3, kernel_constraint=constraint),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(kbp.HybridOptimizer(0.1), "mse")
    x = np.random.default_rng(0).normal(size=(8, 6, 6, 2))
    for _ in range(5):
        model.train_on_batch(x, np.ones((8, 1)))
    kernel = as_numpy(model.layers[0].kernel).reshape(18, 5)
    np.testing.assert_allclose(kernel.T @ kernel, 4 * np.eye(5), atol=1e-4)
    again = keras.constraints.deserialize(
        keras.constraints.serialize(constraint)
    )
    assert again.scale == 2.0


@pytest.mark.parametrize("scale", [0, -1.0, float("nan")])
def test_stiefel_constraint_names_a_wrong_scale(scale):
    with pytest.raises(ValueError, match="`scale` must be positive"):
        kbp.optimizers.StiefelConstraint(scale)


def test_stiefel_constraint_wants_a_matrix():
    with pytest.raises(ValueError, match="two or more dimensions"):
        kbp.optimizers.StiefelConstraint()(np.ones(3))


@pytest.mark.parametrize("sides", [(30, 7), (7, 30), (9, 9)])
def test_a_stack_is_each_matrix_alone(sides):
    stack = np.random.default_rng(0).normal(size=(4, *sides)).astype("float32")
    stack *= np.float32(10.0) ** np.arange(-6, 2, 2).reshape(4, 1, 1)
    each = np.stack([np.asarray(orthogonalize(one)) for one in stack])
    np.testing.assert_allclose(
        np.asarray(orthogonalize(stack)), each, atol=1e-5
    )


@pytest.mark.long
def test_kernels_of_one_size_are_one_batch_and_step_as_alone():
    rng = np.random.default_rng(0)
    shapes = [(3, 3, 4, 6), (36, 6), (6, 6), (3, 3, 4, 6)]
    arrays = [rng.normal(size=s).astype("float32") for s in shapes]
    gradients = [rng.normal(size=s).astype("float32") for s in shapes]

    def moved(choice):
        variables = [keras.Variable(arrays[i]) for i in choice]
        optimizer = kbp.HybridOptimizer(0.1, matrix_steps=[True] * len(choice))
        for _ in range(3):
            optimizer.apply([gradients[i] for i in choice], variables)
        groups = sorted(len(g.indices) for g in optimizer._step.groups)
        return [as_numpy(v) for v in variables], groups

    together, groups = moved(range(4))
    assert groups == [1, 3]
    for i in range(4):
        (alone,), _ = moved([i])
        np.testing.assert_allclose(together[i], alone, atol=1e-6)
