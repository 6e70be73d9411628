"""BP-Transformer as it forecasts, and the ridge that it starts at."""

import keras
import numpy as np
import pytest
from contracts import as_numpy

import kbp
from kbp import export, models, quantization, sparsity

TIME, CHANNELS, HORIZON = 24, 3, 6


def forecaster(**arguments):
    arguments = {"width": 8, "num_heads": 2, "patch_size": 4} | arguments
    return models.BPTransformer(
        (TIME, CHANNELS), HORIZON, head="forecasting", **arguments
    )


@pytest.fixture
def windows():
    rng = np.random.default_rng(0)
    rows = np.arange(200)[:, None]
    series = np.sin(rows / [3.0, 5.0, 7.0]) + 0.1 * rng.normal(size=(200, 3))
    found = np.lib.stride_tricks.sliding_window_view(
        series.astype("f4"), TIME + HORIZON, axis=0
    ).swapaxes(1, 2)
    return found[:, :TIME], found[:, TIME:]


def opened(model, scale=0.3):
    """Open the gate of a model's attention."""
    kernel = model.get_layer("forecast").kernel
    rng = np.random.default_rng(1)
    kernel.assign(scale * rng.normal(size=kernel.shape))
    return model


def naive_ridge(inputs, labels, penalty, memory):
    """Solve example by example, penalties as examples of their own."""
    rows, targets = [], []
    for x, y in zip(inputs, labels, strict=True):
        for channel in range(x.shape[-1]):
            level = x[:, channel].astype("f8").mean()
            rows.append(x[:, channel] - level)
            targets.append(y[:, channel] - level)
    rows, targets = np.array(rows), np.array(targets)
    time = rows.shape[1]
    weights = np.array([1 + (time - 1 - j) / memory for j in range(time)])
    weights *= penalty * (rows**2).sum() / time / weights.mean()
    rows = np.concatenate([rows, np.diag(np.sqrt(weights))])
    targets = np.concatenate([targets, np.zeros((time, targets.shape[1]))])
    return np.linalg.lstsq(rows, targets)[0]


@pytest.mark.parametrize(
    ("penalty", "memory"), [(1e-3, np.inf), (0.5, 8.0), (2.0, 96.0)]
)
def test_ridge_solves_the_least_squares(windows, penalty, memory):
    found = models.ridge(*windows, penalty=penalty, memory=memory)
    expected = naive_ridge(*windows, penalty, memory)
    # float32 sums of a thousand products
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.long
@pytest.mark.parametrize("normalize", [True, False])
def test_model_starts_at_the_linear_forecast(windows, normalize):
    inputs, labels = windows
    model = forecaster(normalize=normalize)
    models.start_at_ridge(model, inputs, labels, penalty=0.1)
    kernel = models.ridge(inputs, labels, penalty=0.1, memory=96.0)
    level = inputs.mean(axis=1, keepdims=True)
    expected = np.einsum("btc,th->bhc", inputs - level, kernel) + level
    np.testing.assert_allclose(
        model.predict(inputs, verbose=0), expected, atol=1e-5
    )
    names = {v.path.split("/")[0] for v in model.trainable_variables}
    assert "linear_skip" not in names
    models.start_at_ridge(model, inputs, labels, trainable=True)
    assert model.get_layer("linear_skip").trainable


def test_several_look_backs_start_at_the_mean_of_their_forecasts(windows):
    inputs, labels = windows
    model = forecaster(num_layers=0)
    models.start_at_ridge(model, inputs, labels, lookbacks=(10, TIME))
    forecasts = []
    for lookback in (10, TIME):
        seen = inputs[:, -lookback:]
        level = seen.mean(axis=1, keepdims=True)
        kernel = models.ridge(seen, labels, memory=96.0)
        forecasts.append(np.einsum("btc,th->bhc", seen - level, kernel) + level)
    np.testing.assert_allclose(
        model.predict(inputs, verbose=0), np.mean(forecasts, axis=0), atol=1e-5
    )
    with pytest.raises(ValueError, match=r"`lookbacks` must be .* 1 to 24"):
        models.start_at_ridge(model, inputs, labels, lookbacks=(25,))


def test_forecast_has_the_units_of_the_window(windows):
    model = opened(forecaster())
    inputs = windows[0][:8]
    outputs = model.predict(inputs, verbose=0)
    scale, shift = np.array([0.01, 1.0, 40.0]), np.array([-3.0, 0.0, 900.0])
    moved = model.predict(inputs * scale + shift, verbose=0)
    # float32 holds 900 to 6e-5
    np.testing.assert_allclose(
        moved, outputs * scale + shift, rtol=1e-4, atol=1e-4
    )


def test_channels_do_not_see_each_other(windows):
    model = opened(forecaster())
    inputs = windows[0][:4].copy()
    before = model.predict(inputs, verbose=0)
    inputs[..., 1] = inputs[::-1, ::-1, 1]
    after = model.predict(inputs, verbose=0)
    np.testing.assert_array_equal(before[..., [0, 2]], after[..., [0, 2]])
    assert not np.allclose(before[..., 1], after[..., 1])
    # ... and all are forecast by the same weights.
    swapped = model.predict(windows[0][:4, :, [2, 1, 0]], verbose=0)
    np.testing.assert_allclose(swapped, before[..., [2, 1, 0]], atol=1e-5)


def test_attention_sees_the_latest_time_steps_and_the_linear_skip_all(windows):
    inputs = windows[0][:4].copy()
    unmoved = []
    for linear_skip in (False, True):
        model = opened(
            forecaster(
                attention_lookback=8, linear_skip=linear_skip, normalize=False
            )
        )
        before = model.predict(inputs, verbose=0)
        changed = inputs.copy()
        changed[:, : TIME - 8] += 1
        after = model.predict(changed, verbose=0)
        unmoved.append(np.array_equal(before, after))
        changed[:, TIME - 8] += 1
        assert not np.allclose(after, model.predict(changed, verbose=0))
    assert unmoved == [True, False]


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments",
    [
        {"num_layers": 0},
        {"linear_skip": False, "normalize": False},
        {"patch_size": 1, "dropout": 0.1},
    ],
)
def test_every_weight_learns(windows, arguments):
    model = forecaster(**arguments)
    assert model.output_shape == (None, HORIZON, CHANNELS)
    before = [as_numpy(v) for v in model.trainable_variables]
    model.compile(kbp.HybridOptimizer(0.01), "huber")
    model.fit(*(array[:32] for array in windows), epochs=4, verbose=0)
    for old, new in zip(before, model.trainable_variables, strict=True):
        # A key's bias in front of a softmax over keys has no effect.
        if "attention_key/bias" not in new.path:
            assert not np.array_equal(old, as_numpy(new)), new.path


def test_model_without_normalization_is_relative_to_nothing(windows):
    model = forecaster(normalize=False, num_layers=0)
    inputs = windows[0][:4]
    kernel = as_numpy(model.get_layer("linear_skip").kernel)
    np.testing.assert_allclose(
        model.predict(inputs, verbose=0),
        np.einsum("btc,th->bhc", inputs, kernel),
        atol=1e-5,
    )


@pytest.mark.slow
def test_heads_and_units_leave_the_model(windows):
    model = opened(forecaster(num_heads=4, width=16))
    masked = sparsity.apply_dtm(model, granularity="channel")
    inputs, labels = (array[:64] for array in windows)
    masked.compile(kbp.HybridOptimizer(1e-3), "huber")
    schedule = sparsity.DTMSchedule(0.5, begin=0.1, end=0.6)
    masked.fit(inputs, labels, epochs=6, callbacks=[schedule], verbose=0)
    small = sparsity.shrink(masked)
    assert small.count_params() < 0.75 * model.count_params()
    np.testing.assert_allclose(
        small.predict(inputs, verbose=0),
        masked.predict(inputs, verbose=0),
        atol=1e-4,
    )


@pytest.mark.long
@pytest.mark.parametrize(
    "skip",
    [(), pytest.param(quantization.ATTENTION_OPS, marks=pytest.mark.slow)],
)
def test_int8_file_takes_any_units(windows, skip, tmp_path):
    scale, shift = np.array([0.01, 1.0, 40.0]), np.array([-3.0, 0.0, 900.0])
    inputs = (windows[0] * scale + shift).astype("f4")
    model = opened(forecaster())
    models.start_at_ridge(model, *windows)
    quantized = quantization.quantize_aware(model, [inputs], skip=skip)
    # As little as eight bits of the normalized forecast.
    error = model.predict(inputs, verbose=0) - quantized.predict(
        inputs, verbose=0
    )
    deviation = inputs.std(axis=1, keepdims=True)
    assert np.sqrt(np.mean((error / deviation) ** 2)) < 0.03
    quantized.save(tmp_path / "q.keras")
    quantized = keras.saving.load_model(tmp_path / "q.keras")
    file = tmp_path / "q.tflite"
    audit = export.to_tflite(quantized, file)
    floats = {
        op.layer
        for op in audit.float_operations
        if op.name not in ("DEQUANTIZE", "QUANTIZE")
    }
    units = {"statistics", "normalize", "restore"}
    if skip:
        products = floats - units - {"float_one"}
        assert products
        assert all("attention" in name for name in products)
    else:
        assert floats == units
    found = export.Runner(file).predict(inputs)
    difference = (found - quantized.predict(inputs, verbose=0)) / deviation
    step = float(quantized.get_layer("sum_quant").scale())
    # By one step at most; attention multiplies what was rounded before it.
    assert np.mean(np.abs(difference) < 1.01 * step) > 0.995
    with pytest.raises(ValueError, match=r"own units.*'float32'"):
        export.to_tflite(quantized, file, input_dtype="int8")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: forecaster(dropout=1.0), "dropout"),
        (lambda: forecaster(patch_size=5), "patch_size"),
        (lambda: forecaster(attention_lookback=6), "patch_size"),
        (lambda: forecaster(attention_lookback=28), "attention_lookback.* 24"),
        (lambda: forecaster(num_layers=0, linear_skip=False), "num_layers"),
        (
            lambda: models.BPTransformer((8, 8), 3, linear_skip=False),
            "`num_targets` are for head='forecasting'",
        ),
        (
            lambda: models.BPTransformer((8, 8), 3, attention_lookback=4),
            "`num_targets` are for head='forecasting'",
        ),
        (
            lambda: models.start_at_ridge(
                forecaster(linear_skip=False), np.zeros((1, 1, 1)), None
            ),
            "no linear skip",
        ),
        (lambda: models.ridge(np.ones((1, 2, 1)), None, penalty=0), "penalty"),
        (lambda: models.ridge(np.ones((1, 2, 1)), None, memory=0), "memory"),
        (
            lambda: models.ridge(np.ones((0, 2, 1)), np.ones((0, 1, 1))),
            "at least one",
        ),
    ],
)
def test_wrong_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
