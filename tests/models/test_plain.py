"""Architectures as others published them."""

import keras
import numpy as np
import pytest
from contracts import as_numpy

from kbp import export, models, quantization, sparsity
from kbp.errors import UserError
from kbp.recipes import Recipe

RNG = np.random.default_rng(7)
FORECASTERS = {
    "dlinear": lambda shape, n: models.DLinear(shape, n, normalize=False),
    "dlinear_of_windows": models.DLinear,
    "patch_tst": lambda shape, n: models.PatchTST(shape, n, num_layers=2),
}


def batch(model, size=64):
    return RNG.normal(size=(size, *model.input_shape[1:])).astype("float32")


def averages(x, size):
    """Return moving averages over time, in float64."""
    wide = np.pad(x, ((0, 0), (size // 2, size // 2), (0, 0)), mode="edge")
    steps = range(x.shape[1])
    return np.stack([wide[:, i : i + size].mean(axis=1) for i in steps], axis=1)


@pytest.mark.parametrize("size", [1, 5, 25])
def test_dlinear_is_two_linear_maps_of_trend_and_rest(size):
    model = models.DLinear((40, 3), 6, kernel_size=size, normalize=False)
    assert model.count_params() == 2 * (40 + 1) * 6
    x = batch(model, 4).astype("float64")
    trend = averages(x, size)
    kernels = [w for w in model.get_weights() if w.ndim == 2]
    expected = sum(
        np.einsum("btc,th->bhc", part, kernel)
        for part, kernel in zip((trend, x - trend), kernels, strict=True)
    )
    np.testing.assert_allclose(as_numpy(model(x)), expected, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("name", FORECASTERS)
def test_forecasters_see_each_channel_by_itself_and_learn(name):
    model = FORECASTERS[name]((48, 3), 5)
    x = batch(model)
    other = x.copy()
    other[..., 1] *= 3
    found, changed = as_numpy(model(x)), as_numpy(model(other))
    assert found.shape == (64, 5, 3)
    np.testing.assert_allclose(found[..., ::2], changed[..., ::2], atol=1e-5)
    swapped = as_numpy(model(x[..., ::-1].copy()))
    np.testing.assert_allclose(swapped, found[..., ::-1], atol=1e-5)
    before = [as_numpy(v) for v in model.trainable_variables]
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, x[:, :5] ** 2, verbose=0)
    for old, new in zip(before, model.trainable_variables, strict=True):
        # A key's bias in front of a softmax over keys has no effect.
        if "key/bias" not in new.path:
            assert not np.array_equal(old, as_numpy(new)), new.path


@pytest.mark.parametrize("name", ["dlinear_of_windows", "patch_tst"])
def test_normalized_forecasts_have_the_windows_units(name):
    model = FORECASTERS[name]((48, 2), 5)
    x = batch(model)
    np.testing.assert_allclose(
        as_numpy(model(100 + 20 * x)),
        100 + 20 * as_numpy(model(x)),
        rtol=1e-3,
    )


def test_resnet_20_is_as_large_as_published():
    # 0.27 M parameters; projections in place of zeros add 2 (16 32 + 32 64)
    # weights and their normalizations.
    model = models.ResNet((32, 32, 3), 10)
    convolutions = 3 * 3 * 3 * 16 + 9 * (
        6 * 16 * 16 + 16 * 32 + 5 * 32 * 32 + 32 * 64 + 5 * 64 * 64
    )
    projections = 16 * 32 + 32 * 64
    channels = 16 + 6 * (16 + 32 + 64) + 32 + 64
    expected = convolutions + projections + 4 * channels + 65 * 10
    assert model.count_params() == expected
    kinds = (keras.layers.Conv2D, keras.layers.Dense)
    weighted = [x for x in model.layers if isinstance(x, kinds)]
    assert len(weighted) == 20 + 2


def test_gates_are_one_number_for_each_pixel():
    model = models.UNet((16, 16, 1), 2, width=4, num_levels=2, gates=True)
    skip, gate = model.get_layer("up0_gate_multiply").input
    assert tuple(skip.shape) == (None, 16, 16, 4)
    assert tuple(gate.shape) == (None, 16, 16, 1)
    values = as_numpy(keras.Model(model.input, gate)(batch(model, 4)))
    assert 0 < values.min() < values.max() < 1


@pytest.mark.long
@pytest.mark.parametrize(
    "build",
    [
        lambda: models.ResNet((16, 16, 1), 3, width=16, num_blocks=1),
        lambda: models.UNet((16, 16, 1), 2, width=16, num_levels=2),
        lambda: models.UNet((16, 16, 1), 2, width=16, num_levels=2, gates=True),
    ],
    ids=["resnet", "unet", "unet_with_gates"],
)
def test_pruned_networks_become_files_of_integers_alone(build, tmp_path):
    model = build()
    x = batch(model, 32)
    masked = sparsity.apply_dtm(model, granularity="channel")
    masked.compile("sgd", "mse")
    y = np.zeros((32, *model.output_shape[1:]), "float32")
    schedule = sparsity.DTMSchedule(0.4, begin=0.0, end=0.9)
    masked.fit(x, y, 8, epochs=2, verbose=0, callbacks=[schedule])
    small = sparsity.shrink(masked)
    assert small.count_params() < model.count_params()
    rounded = quantization.quantize_aware(small, x)
    file = tmp_path / "model.tflite"
    assert not export.to_tflite(rounded, file).float_operations
    assert export.verify(rounded, file, x).within_one >= 0.99


@pytest.mark.long
@pytest.mark.parametrize("normalize", [False, True])
def test_dlinear_becomes_a_file_of_eight_bits(normalize, tmp_path):
    model = models.DLinear((48, 2), 6, normalize=normalize)
    x = batch(model)
    rounded = quantization.quantize_aware(model, x)
    file = tmp_path / "model.tflite"
    export.to_tflite(rounded, file)
    assert export.verify(rounded, file, x).within_one >= 0.99
    found = export.Runner(file).predict(x)
    gap = np.abs(found - as_numpy(model(x))).mean()
    assert gap < 0.04 * np.abs(found).mean()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: models.ResNet((8, 8), 3), "`input_shape` must be"),
        (lambda: models.ResNet((8, 8, 1), 1), "`num_classes` must be"),
        (lambda: models.ResNet((8, 8, 1), 3, width=0), "`width` must be"),
        (lambda: models.UNet((24, 24, 1), 2), "divisible by 16"),
        (lambda: models.UNet((16, 16, 1), 2, num_levels=0), "`num_levels`"),
        (lambda: models.UNet((16, 16, 1), 2, dropout=1.0), "`dropout` must be"),
        (lambda: models.DLinear((8,), 3), "`input_shape` must be"),
        (lambda: models.DLinear((8, 1), 3, kernel_size=4), "must be odd"),
        (lambda: models.PatchTST((8, 1), 3), "`patch_size` must be at most"),
        (lambda: models.PatchTST((48, 1), 3, width=6), "divisible by"),
    ],
)
def test_wrong_argument_is_named(build, words):
    with pytest.raises(ValueError, match=words):
        build()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("unet", "segmentation"),
        ("dlinear", "forecasting"),
        ("patch_tst", "forecasting"),
    ],
)
def test_what_an_architecture_is_not_for_is_named(name, kind):
    recipe = Recipe.parse(
        {
            "model": {"architecture": name},
            "quantization": {"enabled": False},
        }
    )
    with pytest.raises(UserError, match=f"'{name}' is for {kind} alone"):
        recipe.model.build((16, 16, 1), 10)
