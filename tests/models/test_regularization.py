"""Dropout, stochastic depth, penalties and initializers of the families."""

import keras
import numpy as np
import pytest
from contracts import as_numpy

import kbp
from kbp import export, graph, models, quantization, sparsity

RNG = np.random.default_rng(5)
BUILDERS = {
    "pyramid": lambda **o: models.PyramidBPNet(
        (8, 8, 1), 3, num_scales=3, width=8, num_blocks=2, **o
    ),
    "pyramid_of_pixels": lambda **o: models.PyramidBPNet(
        (8, 8, 1), 3, head="segmentation", width=8, num_blocks=2, **o
    ),
    "transformer": lambda **o: models.BPTransformer(
        (6, 5), 3, width=8, num_heads=2, num_layers=3, **o
    ),
    "forecaster": lambda **o: models.BPTransformer(
        (12, 2), 4, head="forecasting", width=8, patch_size=3, **o
    ),
    "mlp": lambda **o: models.ResidualMLP((6,), 3, width=8, num_layers=4, **o),
    "resnet": lambda **o: models.ResNet(
        (8, 8, 1), 3, width=8, num_stages=2, num_blocks=2, **o
    ),
}
TECHNIQUES = {
    "dropout": {"dropout": 0.3},
    "stochastic_depth": {"stochastic_depth": 0.4},
    "l2": {"l2": 1e-3},
    "initializer": {"initializer": "he_normal"},
    "all": {
        "dropout": 0.1,
        "stochastic_depth": 0.2,
        "l2": 1e-4,
        "initializer": "glorot_normal",
    },
}
# The ridge regression has a penalty of its own.
NOT_PENALIZED = ("linear_skip",)


@pytest.fixture(params=BUILDERS)
def build(request):
    return BUILDERS[request.param]


def batch(model, size=8):
    return RNG.normal(size=(size, *model.input_shape[1:])).astype("float32")


def drops(model):
    """Return the layers of a model that drop."""
    kinds = (keras.layers.Dropout, keras.layers.SpatialDropout2D)
    flat = graph.flatten(model)
    return [x for x in flat.layers if isinstance(x, kinds)]


def penalized(model):
    return [w for w in graph.flatten(model).weights if w.regularizer]


def survival(last, depth):
    """Return Huang's survival probabilities, in float64."""
    blocks = np.arange(1, depth + 1, dtype="float64")
    return 1 - blocks / depth * (1 - last)


@pytest.mark.parametrize("depth", [1, 2, 7])
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.9])
def test_rates_grow_linearly_with_depth(depth, rate):
    found = models.regularization.depth_rates(rate, depth)
    expected = 1 - survival(1 - rate, depth)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_every_residual_block_has_its_rate_in_order(build):
    rates = [
        x.rate for x in drops(build(stochastic_depth=0.6)) if x.noise_shape
    ]
    assert len(rates) > 1
    np.testing.assert_allclose(rates, 1 - survival(0.4, len(rates)), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (kbp.layers.ResidualDense, [(5,), (4,)]),
        (kbp.layers.ResidualConv2D, [(3, 3, 2), (3, 3, 4)]),
        (kbp.layers.SelfAttention, [(3, 4)]),
    ],
)
def test_a_branch_is_dropped_whole_and_is_expected_to_be_itself(make, shapes):
    size, rate = 4096, 0.3
    number = 2 if make is kbp.layers.SelfAttention else 4
    layer = make(number, stochastic_depth=rate)
    # The same example again and again, so that only the draws differ.
    inputs = [np.repeat(RNG.normal(size=(1, *s)), size, axis=0) for s in shapes]
    still = as_numpy(layer(*inputs)).astype("float64")
    branch = still - inputs[-1]
    drawn = as_numpy(layer(*inputs, training=True)).astype("float64")
    axes = tuple(range(1, drawn.ndim))
    gone = np.isclose(drawn, inputs[-1], atol=1e-6).all(axis=axes)
    kept = inputs[-1] + branch / (1 - rate)
    np.testing.assert_allclose(drawn[~gone], kept[~gone], atol=1e-5)
    # Four standard errors of a share of so many examples.
    error = 4 * np.sqrt(rate * (1 - rate) / size)
    assert abs(gone.mean() - rate) < error
    np.testing.assert_allclose(
        drawn.mean(axis=0),
        still[0],
        atol=error * np.abs(branch).max() / (1 - rate) + 1e-5,
    )


def test_dropout_of_a_branch_is_expected_to_be_the_branch():
    layer = kbp.layers.ResidualDense(4096, dropout=0.25)
    x, skip = np.ones((1, 3)), np.zeros((1, 4096))
    still = as_numpy(layer(x, skip)).astype("float64")
    drawn = as_numpy(layer(x, skip, training=True)).astype("float64")
    kept = drawn != 0
    np.testing.assert_allclose(drawn[kept], still[kept] / 0.75, rtol=1e-5)
    share = kept.sum() / (still != 0).sum()
    assert abs(share - 0.75) < 4 * np.sqrt(0.25 * 0.75 / 2000)


@pytest.mark.long
def test_nothing_is_dropped_at_inference_nor_in_any_file(build, tmp_path):
    plain, model = build(), build(dropout=0.5, stochastic_depth=0.5)
    assert drops(model)
    weights = {w.path: w for w in plain.weights}
    assert {*weights} == {w.path for w in model.weights}
    for weight in model.weights:
        value = as_numpy(weight) + RNG.normal(size=weight.shape) * 0.1
        weight.assign(np.abs(value))
        weights[weight.path].assign(np.abs(value))
    x = batch(model)
    np.testing.assert_array_equal(as_numpy(model(x)), as_numpy(plain(x)))
    files = [tmp_path / "model.tflite", tmp_path / "plain.tflite"]
    for each, file in zip((model, plain), files, strict=True):
        export.to_tflite(each, file)
    ours, theirs = (export.audit(file) for file in files)
    names = [[op.name for op in found.operations] for found in (ours, theirs)]
    assert names[0] == names[1]
    found = export.Runner(files[0]).predict(x)
    np.testing.assert_array_equal(found, export.Runner(files[1]).predict(x))
    assert not np.array_equal(  # what changes the statistics comes last
        as_numpy(model(x, training=True)), as_numpy(plain(x, training=True))
    )


def test_the_penalty_is_that_of_all_kernels(build):
    model = build(l2=0.01)
    expected = 0.01 * sum(
        (as_numpy(w).astype("float64") ** 2).sum()
        for w in model.weights
        if w.name == "kernel"
        and len(w.shape) > 1
        and not any(name in w.path for name in (*NOT_PENALIZED, "position"))
    )
    assert expected > 0
    np.testing.assert_allclose(
        sum(map(float, model.losses)), expected, rtol=1e-5
    )
    assert not build().losses


@pytest.mark.parametrize("family", ["glorot", "he"])
@pytest.mark.parametrize("shape", ["normal", "uniform"])
def test_kernels_begin_with_the_variance_of_their_initializer(family, shape):
    model = models.BPTransformer(
        (8, 64), 96, width=192, num_heads=3, initializer=f"{family}_{shape}"
    )
    seen = 0
    for weight in graph.flatten(model).weights:
        if weight.name != "kernel" or "position" in weight.path:
            continue
        fan_in, fan_out = map(float, weight.shape)
        expected = 2 / (fan_in + fan_out) if family == "glorot" else 2 / fan_in
        if "query" in weight.path:
            expected /= 64  # the size of a head
        values = as_numpy(weight).astype("float64")
        # A variance of n values is known to some sqrt(2 / n).
        assert abs(values.var() / expected - 1) < 6 * np.sqrt(2 / values.size)
        bound = np.sqrt(3 * expected)
        assert (np.abs(values).max() > 1.01 * bound) == (shape == "normal")
        seen += 1
    assert seen == 11


@pytest.mark.long
@pytest.mark.parametrize(
    ("technique", "family"),
    [
        ("all", "mlp"),
        *(
            pytest.param(technique, family, marks=pytest.mark.slow)
            for technique in TECHNIQUES
            for family in ("pyramid", "transformer", "mlp", "resnet")
        ),
    ],
)
def test_what_was_made_so_prunes_rounds_exports_and_verifies(
    technique, family, tmp_path
):
    options = TECHNIQUES[technique]
    model = BUILDERS[family](**options)
    x = batch(model, 64)
    y = RNG.integers(0, 3, 64)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    masked = sparsity.apply_dtm(model, granularity="channel")
    masked.compile(kbp.HybridOptimizer(1e-3), loss)
    schedule = sparsity.DTMSchedule(0.4, begin=0.0, end=0.9)
    masked.fit(x, y, epochs=2, verbose=0, callbacks=[schedule])
    small = sparsity.shrink(masked)
    assert small.count_params() < model.count_params()
    rounded = quantization.quantize_aware(small, x)
    for each in (masked, small, rounded):
        assert [d.rate for d in drops(each)] == [d.rate for d in drops(model)]
        assert len(penalized(each)) == len(penalized(model))
        assert bool(each.losses) == bool(penalized(model))
    rounded.compile(kbp.HybridOptimizer(1e-4), loss)
    rounded.fit(x, y, verbose=0)
    for drop in drops(rounded):
        probe = keras.Model(rounded.input, [drop.input, drop.output])
        given, left = map(as_numpy, probe(x, training=True))
        assert not np.array_equal(given, left)
    file = tmp_path / "model.tflite"
    audit = export.to_tflite(rounded, file)
    assert not audit.float_operations
    found = export.verify(rounded, file, x)
    assert found.within_one >= 0.99


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dropout": 1.0}, "`dropout` must be in"),
        ({"stochastic_depth": -0.1}, "`stochastic_depth` must be in"),
        ({"stochastic_depth": 1.0}, "`stochastic_depth` must be in"),
        ({"l2": -1.0}, "`l2` must not be negative"),
        ({"l2": float("nan")}, "`l2` must not be negative"),
        ({"initializer": "he"}, "`initializer` must be one of"),
    ],
    ids=str,
)
def test_what_no_model_can_have_is_named(build, change, words):
    with pytest.raises(ValueError, match=f"Argument {words}"):
        build(**change)


@pytest.mark.parametrize(
    "make",
    [
        lambda: models.PyramidBPNet((8, 8, 1), 3, stochastic_depth=0.1),
        lambda: models.ResidualMLP((6,), 3, num_layers=1, stochastic_depth=0.1),
        lambda: models.BPTransformer(
            (8, 1), 2, head="forecasting", num_layers=0, stochastic_depth=0.1
        ),
    ],
)
def test_a_model_without_residual_blocks_has_no_depth_to_drop(make):
    with pytest.raises(ValueError, match="0 for a model without residual"):
        make()


@pytest.mark.parametrize("change", [{"dropout": 0.1}, {"l2": 0.1}], ids=str)
def test_a_linear_skip_alone_takes_nothing_that_has_no_effect(change):
    with pytest.raises(ValueError, match="have no effect with num_layers=0"):
        models.BPTransformer(
            (8, 1), 2, head="forecasting", num_layers=0, **change
        )
