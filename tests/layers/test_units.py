"""Layers of numbers in units of their own, in every precision."""

import keras
import numpy as np
import pytest
from contracts import as_numpy

from kbp import layers

POLICIES = (
    *("float32", "float64", "float16", "bfloat16"),
    *("mixed_float16", "mixed_bfloat16"),
)
RNG = np.random.default_rng(0)
# Levels and deviations that half precision does not hold, or not apart; the
# last channel does not vary.
LEVELS = np.array([3e6, 300.0, -2e-7, 7.5])
DEVIATIONS = np.array([2e5, 0.5, 1e-8, 0.0])
WINDOWS = LEVELS + DEVIATIONS * RNG.normal(size=(5, 40, 4))
MEAN, STD = WINDOWS.mean(axis=1), WINDOWS.std(axis=1)
STD[:, -1] = layers.WindowStatistics.SMALLEST
STATISTICS = np.stack([MEAN, STD], axis=-1)
ROWS, LINE = WINDOWS[:, 0, :3], (LEVELS[:3], DEVIATIONS[:3])
NORMAL = (WINDOWS - MEAN[:, None]) / STD[:, None]
NORMAL[..., -1] = 0.0  # not the rounding of float64


def of_rows(kind, policy):
    """A layer with the statistics of the rows."""
    if kind is layers.TableEncoding:
        layer = kind([0, 0, 0], dtype=policy)
        layer.build((None, 3))
        ends = [
            [level - 4 * deviation, level + 4 * deviation]
            for level, deviation in zip(*LINE, strict=True)
        ]
        layer.set_knots(ends, heights=[[-4, 4]] * 3)
    else:
        layer = kind(dtype=policy)
        layer.build((None, 3))
        layer.set_weights(LINE)
    return layer


# Of each the layer, its inputs, what comes out, and whether that is in units.
CASES = {
    "WindowStatistics": (
        lambda policy: layers.WindowStatistics(dtype=policy),
        [WINDOWS],
        STATISTICS,
        True,
    ),
    "WindowNormalization": (
        lambda policy: layers.WindowNormalization(dtype=policy),
        [WINDOWS, STATISTICS],
        NORMAL.transpose(0, 2, 1),
        False,
    ),
    "WindowNormalization, inverse": (
        lambda policy: layers.WindowNormalization(invert=True, dtype=policy),
        [NORMAL.transpose(0, 2, 1), STATISTICS],
        WINDOWS,
        True,
    ),
    "WindowSlice": (
        lambda policy: layers.WindowSlice((1, 4), (0, 2), dtype=policy),
        [WINDOWS],
        WINDOWS[:, 1:4, :2],
        True,
    ),
    "Standardization": (
        lambda policy: of_rows(layers.Standardization, policy),
        [ROWS],
        (ROWS - LINE[0]) / LINE[1],
        False,
    ),
    "TableEncoding": (
        lambda policy: of_rows(layers.TableEncoding, policy),
        [ROWS],
        np.clip((ROWS - LINE[0]) / LINE[1], -4, 4),
        False,
    ),
    "InverseStandardization": (
        lambda policy: of_rows(layers.InverseStandardization, policy),
        [(ROWS - LINE[0]) / LINE[1]],
        ROWS,
        True,
    ),
}


def test_every_layer_of_units_is_in_the_table():
    folder = layers.WindowStatistics.__module__.rsplit(".", 1)[0]
    assert {name.split(",")[0] for name in CASES} == {
        name
        for name, kind in vars(layers).items()
        if getattr(kind, "__module__", "").startswith(folder + ".")
    }


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", CASES)
def test_numbers_of_any_unit_are_computed_in_float32(name, policy):
    make, inputs, expected, in_units = CASES[name]
    layer = make(policy)
    arrays = [x.astype("float32") for x in inputs]
    found = layer(*arrays)
    wide = "float64" if policy == "float64" else "float32"
    dtype = wide if in_units else layer.compute_dtype
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    # float32 holds the difference of two levels that are 500 deviations high
    # to 4 digits; half precision then rounds what is normal.
    narrow = {"float16": 2**-10, "bfloat16": 2**-7}.get(dtype, 0.0)
    np.testing.assert_allclose(
        as_numpy(keras.ops.cast(found, "float64")),
        expected,
        rtol=1e-5 + narrow,
        atol=0.0 if in_units else 2e-4 + narrow,
    )
    symbolic = layer(*(keras.Input(x.shape[1:]) for x in arrays))
    assert symbolic.dtype == dtype
    assert symbolic.shape == (None, *found.shape[1:])


@pytest.mark.parametrize("name", CASES)
def test_layer_of_a_model_that_says_autocast_is_made(name):
    layer = CASES[name][0]("float32")
    old = {**layer.get_config(), "autocast": True}
    assert not type(layer).from_config(old).autocast
