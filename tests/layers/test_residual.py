"""Residual, attention and fusion layers against their formulas."""

import numpy as np
import pytest
import references
from contracts import as_numpy

from kbp import layers

# float32 sums of some hundred terms of order one
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def weights(layer):
    return [as_numpy(w).astype("float64") for w in layer.weights]


@pytest.mark.parametrize("skip_width", [6, 5])
def test_residual_dense_is_the_formula(rng, skip_width):
    inputs, skip = rng.normal(size=(4, 3)), rng.normal(size=(4, skip_width))
    layer = layers.ResidualDense(6)
    outputs = layer(inputs, skip)
    layer.main.bias.assign(rng.normal(size=6))
    outputs = as_numpy(layer(inputs, skip))
    kernel, bias = weights(layer.main)
    projection = None
    if skip_width != 6:
        (projection,) = weights(layer.projection)
    expected = references.residual_dense(inputs, skip, kernel, bias, projection)
    np.testing.assert_allclose(outputs, expected, **CLOSE)


@pytest.mark.parametrize("strides", [1, 2])
def test_residual_conv2d_is_the_formula(rng, strides):
    inputs, skip = rng.normal(size=(2, 8, 6, 3)), rng.normal(size=(2, 8, 6, 2))
    layer = layers.ResidualConv2D(4, strides=strides)
    layer(inputs, skip)
    layer.main.bias.assign(rng.normal(size=4))
    outputs = as_numpy(layer(inputs, skip))
    kernel, bias = weights(layer.main)
    (projection,) = weights(layer.projection)
    expected = references.relu(
        references.conv2d_same(inputs, kernel, strides) + bias
    ) + references.conv2d_same(skip, projection, strides)
    np.testing.assert_allclose(outputs, expected, **CLOSE)


def test_equal_widths_need_no_projection():
    layer = layers.ResidualDense(5)
    layer(np.ones((2, 3)), np.ones((2, 5)))
    assert layer.projection is None
    assert len(layer.weights) == 2


def test_batch_norm_stands_before_the_activation(rng):
    inputs, skip = rng.normal(size=(8, 3)), rng.normal(size=(8, 4))
    layer = layers.ResidualDense(4, batch_norm=True)
    outputs = as_numpy(layer(inputs, skip, training=True))
    hidden = inputs @ weights(layer.main)[0]
    epsilon = layer.normalization.epsilon
    hidden = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + epsilon)
    np.testing.assert_allclose(outputs, references.relu(hidden) + skip, **CLOSE)


def test_skip_of_a_size_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="as large as its output or a mult"):
        layers.ResidualConv2D(4)(np.ones((1, 6, 6, 2)), np.ones((1, 9, 9, 2)))


@pytest.mark.parametrize("num_heads", [1, 2, 4])
def test_self_attention_is_the_formula(rng, num_heads):
    inputs = rng.normal(size=(3, 5, 8))
    layer = layers.SelfAttention(num_heads)
    layer(inputs)
    for part in (layer.query, layer.key, layer.value, layer.output_dense):
        part.bias.assign(rng.normal(size=8))
    parts = [
        weights(part)
        for part in (layer.query, layer.key, layer.value, layer.output_dense)
    ]
    expected = references.self_attention(inputs, num_heads, *parts)
    np.testing.assert_allclose(as_numpy(layer(inputs)), expected, **CLOSE)


def test_query_kernel_starts_smaller_by_the_root_of_the_head_size():
    layer = layers.SelfAttention(2)
    layer(np.ones((1, 2, 128)))
    ratio = (
        as_numpy(layer.key.kernel).std() / as_numpy(layer.query.kernel).std()
    )
    # 16,384 uniform values estimate a deviation to well under 3 %
    assert abs(ratio / np.sqrt(64) - 1) < 0.03


def test_attention_ignores_the_order_of_the_other_steps(rng):
    inputs = rng.normal(size=(1, 6, 4)).astype("float32")
    layer = layers.SelfAttention(2)
    order = rng.permutation(6)
    np.testing.assert_allclose(
        as_numpy(layer(inputs[:, order])),
        as_numpy(layer(inputs))[:, order],
        **CLOSE,
    )


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (
            lambda: layers.SelfAttention(3),
            (2, 5, 8),
            "must divide the features",
        ),
        (lambda: layers.SelfAttention(2), (2, None, 8), "fixed number of time"),
        (lambda: layers.SelfAttention(2), (2, 5, None), "and of features"),
        (
            lambda: layers.ChannelScale(name="gate"),
            (2, None),
            r"gate must know the number of channels.*\(2, None\)",
        ),
    ],
)
def test_unfit_shapes_are_refused(make, shape, message):
    with pytest.raises(ValueError, match=message):
        make().build(shape)


def test_attention_without_heads_is_refused():
    with pytest.raises(ValueError, match="`num_heads` must be a whole"):
        layers.SelfAttention(0)


def test_fusion_is_the_formula(rng):
    maps = [rng.normal(size=(2, n, n, c)) for n, c in ((8, 2), (4, 3), (1, 4))]
    layer = layers.FeatureFusion(5)
    layer(maps)
    for projection in layer.projections:
        projection.bias.assign(rng.normal(size=5))
    outputs = as_numpy(layer(maps))
    kernels, biases = zip(*map(weights, layer.projections), strict=True)
    expected = references.feature_fusion(
        maps, [k[0, 0] for k in kernels], biases
    )
    np.testing.assert_allclose(outputs, expected, **CLOSE)


@pytest.mark.parametrize(
    "shapes",
    [
        [(None, 8, 8, 2)],
        [(None, 8, 8, 2), (None, 3, 3, 2)],
        [(None, None, None, 2), (None, 4, 4, 2)],
    ],
)
def test_fusion_refuses_shapes(shapes):
    with pytest.raises(ValueError, match=r"feature maps|divide each other"):
        layers.FeatureFusion(4).build(shapes)


def test_position_embedding_adds_one_vector_per_step(rng):
    layer = layers.PositionEmbedding(initializer="random_normal")
    inputs = rng.normal(size=(2, 3, 4)).astype("float32")
    np.testing.assert_allclose(
        as_numpy(layer(inputs)), inputs + as_numpy(layer.kernel)
    )
