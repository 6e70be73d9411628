"""BP-Transformer with covariates: formulas, units, 8-bit files."""

import keras
import numpy as np
import pytest
from contracts import as_numpy

import kbp
from kbp import export, models, quantization

TIME, HORIZON, PAST, FUTURE = 24, 6, 1, 3


def forecaster(targets=2, past=PAST, future=FUTURE, **arguments):
    arguments = {"width": 8, "num_heads": 2, "patch_size": 4} | arguments
    return models.BPTransformer(
        (TIME + HORIZON, targets + past + future),
        HORIZON,
        head="forecasting",
        num_targets=targets,
        num_past_covariates=past,
        **arguments,
    )


def opened(model, seed=1):
    """Give the layers that are zero at first other weights."""
    rng = np.random.default_rng(seed)
    for name in ("forecast", "future_forecast", "past_forecast"):
        if name in {layer.name for layer in model.layers}:
            kernel = model.get_layer(name).kernel
            kernel.assign(0.3 * rng.normal(size=kernel.shape))
    return model


@pytest.fixture
def windows():
    """Two waves that a covariate which is known ahead disturbs."""
    rng = np.random.default_rng(0)
    rows = np.arange(300)
    covariates = np.stack(
        [
            20 + 8 * rng.normal(size=300),
            rng.random(300) < 0.2,
            np.sin(rows / 4),
            1000 * np.cos(rows / 4),
        ],
        axis=1,
    )
    targets = np.sin(rows[:, None] / [3.0, 5.0]) - 2 * covariates[:, 1:2]
    series = np.concatenate([targets, covariates], axis=1).astype("f4")
    found = np.lib.stride_tricks.sliding_window_view(
        series, TIME + HORIZON, axis=0
    ).swapaxes(1, 2)
    inputs, labels = found.copy(), found[:, TIME:, :2].copy()
    inputs[:, TIME:, : 2 + PAST] = 0
    return inputs, labels, covariates


def dense(model, name, x):
    layer = model.get_layer(name)
    bias = as_numpy(layer.bias) if layer.use_bias else 0.0
    return x @ as_numpy(layer.kernel).astype("f8") + bias


@pytest.mark.parametrize("lookback", [TIME, 8])
def test_covariates_add_the_terms_of_the_formula(windows, lookback):
    inputs, _, covariates = windows
    model = opened(forecaster(num_layers=0, attention_lookback=lookback))
    mean, scale = covariates.mean(axis=0), covariates.std(axis=0)
    models.standardize_covariates(model, mean, scale)
    x = inputs[:5].astype("f8")
    past = x[:, :TIME, :2]
    level, deviation = (
        f(past, axis=1, keepdims=True) for f in (np.mean, np.std)
    )
    z = ((past - level) / deviation).swapaxes(1, 2)
    known = (x[:, :, 2:] - mean) / scale
    c = np.maximum(dense(model, "future_dense", known[:, TIME:, PAST:]), 0)
    hidden = dense(model, "future_hidden", c)[:, None]
    hidden = hidden + dense(model, "target_hidden", z)[:, :, None]
    future = dense(model, "future_forecast", np.maximum(hidden, 0))[..., 0]
    patches = known[:, TIME - lookback : TIME].reshape(5, lookback // 4, -1)
    patches = np.maximum(dense(model, "past_dense", patches), 0)
    before = dense(model, "past_forecast", patches.reshape(5, -1))[:, None]
    y = dense(model, "linear_skip", z) + future + before
    expected = y.swapaxes(1, 2) * deviation + level
    np.testing.assert_allclose(
        model.predict(inputs[:5], verbose=0), expected, rtol=1e-4, atol=1e-4
    )


def test_forecast_starts_as_one_without_covariates(windows):
    inputs, labels, _ = windows
    model = forecaster()
    past = inputs[:, :TIME, :2]
    models.start_at_ridge(model, past, labels, penalty=0.1)
    alone = models.BPTransformer(
        (TIME, 2), HORIZON, head="forecasting", num_layers=0
    )
    models.start_at_ridge(alone, past, labels, penalty=0.1)
    np.testing.assert_allclose(
        model.predict(inputs, verbose=0),
        alone.predict(past, verbose=0),
        atol=1e-5,
    )


def test_targets_are_forecast_alike_in_any_place_and_unit(windows):
    inputs = windows[0][:6]
    model = opened(forecaster())
    before = model.predict(inputs, verbose=0)
    swapped = model.predict(inputs[..., [1, 0, 2, 3, 4, 5]], verbose=0)
    np.testing.assert_allclose(swapped[..., ::-1], before, atol=1e-5)
    moved = inputs.copy()
    moved[:, :TIME, 0] = 100 * moved[:, :TIME, 0] + 900
    after = model.predict(moved, verbose=0)
    # float32 holds 900 to 6e-5
    np.testing.assert_allclose(
        after[..., 0], 100 * before[..., 0] + 900, rtol=1e-4, atol=1e-2
    )
    np.testing.assert_allclose(after[..., 1], before[..., 1], atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize(
    ("past", "future"),
    [
        (2, 0),
        (0, 2),
        pytest.param(1, 1, marks=pytest.mark.slow),  # both together
    ],
)
def test_every_weight_learns_with_covariates(past, future):
    model = forecaster(past=past, future=future, dropout=0.1)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(32, TIME + HORIZON, 2 + past + future))
    labels = rng.normal(size=(32, HORIZON, 2))
    before = [as_numpy(v) for v in model.trainable_variables]
    model.compile(kbp.HybridOptimizer(0.01), "huber")
    model.fit(inputs, labels, epochs=4, verbose=0)
    for old, new in zip(before, model.trainable_variables, strict=True):
        # A key's bias in front of a softmax over keys has no effect.
        if "attention_key/bias" not in new.path:
            assert not np.array_equal(old, as_numpy(new)), new.path


@pytest.mark.long
@pytest.mark.parametrize(
    "targets", [pytest.param(1, marks=pytest.mark.slow), 2]
)
def test_int8_file_takes_covariates_in_their_units(windows, targets, tmp_path):
    inputs, labels, covariates = windows
    inputs = inputs[..., 2 - targets :] * 1.0
    scale, shift = np.array([0.01, 40.0]), np.array([-3.0, 900.0])
    inputs[:, :TIME, :targets] *= scale[:targets]
    inputs[:, :TIME, :targets] += shift[:targets]
    inputs = inputs.astype("f4")
    model = opened(forecaster(targets))
    models.standardize_covariates(
        model, covariates.mean(axis=0), covariates.std(axis=0)
    )
    past = inputs[:, :TIME, :targets]
    labels = labels[..., 2 - targets :] * scale[:targets] + shift[:targets]
    models.start_at_ridge(model, past, labels.astype("f4"))
    quantized = quantization.quantize_aware(model, [inputs])
    deviation = past.std(axis=1, keepdims=True)
    error = model.predict(inputs, verbose=0) - quantized.predict(
        inputs, verbose=0
    )
    # As little as eight bits of a sum of four terms.
    assert np.sqrt(np.mean((error / deviation) ** 2)) < 0.06
    quantized.save(tmp_path / "q.keras")
    quantized = keras.saving.load_model(tmp_path / "q.keras")
    file = tmp_path / "q.tflite"
    audit = export.to_tflite(quantized, file)
    floats = {
        op.layer
        for op in audit.float_operations
        if op.name not in ("DEQUANTIZE", "QUANTIZE")
    }
    assert floats == {
        *("targets", "statistics", "normalize", "restore"),
        *("future", "future_standardize", "past", "past_standardize"),
    }
    found = export.Runner(file).predict(inputs)
    difference = (found - quantized.predict(inputs, verbose=0)) / deviation
    step = float(quantized.get_layer("sum1_quant").scale())
    # By one step at most; attention multiplies what was rounded before it.
    assert np.mean(np.abs(difference) < 1.01 * step) > 0.99


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: forecaster(past=0, future=0),
            "`input_shape` must be .* 3 col",
        ),
        (lambda: forecaster(targets=0), "num_targets"),
        (lambda: forecaster(normalize=False), "`normalize` must be true"),
        (
            lambda: models.BPTransformer((8, 8), 3, num_targets=2),
            "`num_targets` are for head='forecasting'",
        ),
        (
            lambda: models.standardize_covariates(
                forecaster(), np.zeros(3), np.ones(3)
            ),
            "does not have 3 covariates",
        ),
        (
            lambda: models.standardize_covariates(
                forecaster(), np.zeros(4), np.zeros(4)
            ),
            "`scale` must be positive",
        ),
    ],
)
def test_wrong_covariates_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
