"""Sums over batches are those over everything at once."""

import numpy as np
import pytest

from kbp.export.gaps import Drift, Gap
from kbp.export.interpreter import quantize

RNG = np.random.default_rng(0)
FLOATS = {"dtype": np.float32, "quantization": (0.0, 0)}
STEPS = {"dtype": np.int8, "quantization": (0.05, 3)}
WHOLE = {"dtype": np.int32, "quantization": (0.0, 0)}


def batches(array, size=7):
    return np.split(array, range(size, len(array), size))


def outputs(details, shape=(50, 6)):
    """Return what a model gives, the larger the later, and a file nearly."""
    model = RNG.normal(size=shape) * np.linspace(0.1, 5, shape[0])[:, None]
    model = model.astype("float32")
    noise = 0.01 if details is FLOATS else 0.2
    file = model + RNG.normal(size=shape).astype("float32") * noise
    if details is WHOLE:
        return model.astype("int32"), file.astype("int32")
    if details is STEPS:
        return model, quantize(file, details)
    return model, file


def measured(details, model, file, step, size):
    gap = Gap(details)
    for x, y in zip(batches(model, size), batches(file, size), strict=True):
        part = None if step is None else np.full(x.shape, step)
        gap.add(x, y, None, part)
    return gap


@pytest.mark.parametrize(
    ("details", "step"),
    [(FLOATS, None), (FLOATS, 0.02), (STEPS, None), (WHOLE, None)],
)
def test_gaps_are_those_of_all_values_together(details, step):
    model, file = outputs(details)
    gap = measured(details, model, file, step, 7)
    once = measured(details, model, file, step, 50)
    for name in ("count", "same", "near", "has_steps"):
        assert getattr(gap, name) == getattr(once, name)
    assert 0 < gap.near < gap.count == 300
    if details is WHOLE:
        difference, near = (model != file).astype(float), (model == file).sum()
    elif details is STEPS:
        integers = quantize(model, STEPS).astype(int)
        difference = np.abs(file.astype(int) - integers)
        near = (difference <= 1).sum()
    else:
        difference = np.abs(file - model)
        near = (difference <= 1e-3 * np.abs(model).max()).sum()
        if step:
            difference = (difference / step).round(3)
            near = (difference <= 1).sum()
    assert gap.near == near
    assert gap.steps.largest == pytest.approx(difference.max(), rel=1e-6)
    assert gap.steps.total == pytest.approx(difference.sum(), rel=1e-6)
    unit = 0.05 if details is STEPS else 1
    if not step:
        total = unit * difference.sum()
        assert gap.in_floats.total == pytest.approx(total, rel=1e-6)


def test_nan_is_never_near():
    model, file = outputs(FLOATS)
    file[11, 2] = np.nan
    gap = measured(FLOATS, model, file, None, 7)
    whole = measured(FLOATS, *outputs(FLOATS), None, 7)
    assert np.isnan(gap.steps.largest)
    assert gap.near <= gap.count - 1
    assert not np.isnan(whole.steps.largest)


def columns():
    return RNG.normal(1000, [1, 5, 0.1], (50, 3)).astype("float32")


def shares():
    exps = np.exp(RNG.normal(size=(50, 3)))
    return (exps / exps.sum(axis=1, keepdims=True)).astype("float32")


def pictures():
    return RNG.normal(size=(50, 4, 4, 2)).astype("float32")


def reference(model, file, of_columns):
    """Return the drift by its definition, in float64."""
    x, y = model.astype("float64"), file.astype("float64")
    axis = 0 if of_columns else None
    gap = np.sqrt(np.mean((y - x) ** 2, axis=axis))
    return np.max(gap / np.std(x, axis=axis))


@pytest.mark.parametrize(
    ("make", "of_columns"),
    [(columns, True), (shares, False), (pictures, False)],
)
@pytest.mark.parametrize("size", [1, 7, 50])
def test_drift_is_that_of_all_values_together(make, of_columns, size):
    model = make()
    file = model + 0.01 * RNG.normal(size=model.shape).astype("float32")
    drift = Drift()
    for x, y in zip(batches(model, size), batches(file, size), strict=True):
        drift.add(x, [y])
    right = reference(model, file, of_columns)
    assert drift.share() == pytest.approx(right, rel=1e-9)


def test_drift_of_integers_is_the_share_that_differ():
    model = np.arange(50)
    file = np.where(model % 5 == 0, 99, model)
    drift = Drift()
    for x, y in zip(batches(model), batches(file), strict=True):
        drift.add(x, [y])
    assert drift.share() == 0.2
