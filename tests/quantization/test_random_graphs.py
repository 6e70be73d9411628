"""Networks that nobody has designed, in eight bits."""

import numpy as np
import pytest
from contracts import as_numpy
from graphs import any_graph, random_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from kbp import export
from kbp.quantization import quantize_aware

SEEDS = st.integers(0, 10_000)


def check(seed, folder):
    model = random_graph(seed)
    x = np.random.default_rng(1).normal(size=(32, 8, 8, 3)).astype("float32")
    quantized = quantize_aware(model, [x])
    path = folder / f"{seed}.tflite"
    # Raises on a float operation.
    assert not export.to_tflite(quantized, path).float_operations
    verification = export.verify(quantized, path, [x])
    # One step for each of some twenty operations, of which few go astray.
    assert verification.mean < 2, (seed, verification)
    assert verification.maximum < 20, (seed, verification)
    expected = as_numpy(model(x))
    gap = np.abs(as_numpy(quantized(x)) - expected).mean()
    # Of 400 graphs two have more than 0.03: what is joined has one range, and
    # in these untrained networks values may grow a hundred times on the way.
    assert gap < 0.06 * np.abs(expected).max(), (seed, gap)


@pytest.mark.long
@settings(deadline=None, max_examples=2, derandomize=True)
@given(SEEDS)
def test_random_graphs_are_exported_in_int8(tmp_path_factory, seed):
    check(seed, tmp_path_factory.mktemp("graph"))


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_more_random_graphs_are_exported_in_int8(tmp_path_factory, seed):
    check(seed, tmp_path_factory.mktemp("graph"))


def check_promise(seed, folder):
    """Hold the file to compute what was trained, with XNNPACK."""
    model = any_graph(seed)
    x = np.random.default_rng(0).normal(size=(128, 12, 12, 3))
    x = x.astype("float32")
    quantized = quantize_aware(model, x)
    path = folder / f"any_{seed}.tflite"
    export.to_tflite(quantized, path)
    found = export.verify(quantized, path, x)
    # An attention's means of many values turn one step of one into ties.
    attends = any(type(x).__name__ == "Softmax" for x in quantized.layers)
    assert found.within_one >= (0.95 if attends else 0.99), (seed, found)
    reference = export.verify(quantized, path, x, reference=True)
    assert reference.maximum < 20, (seed, reference)


@pytest.mark.long
@pytest.mark.parametrize("seed", [3, 12, 47])
def test_file_computes_what_was_trained(tmp_path, seed):
    check_promise(seed, tmp_path)


@pytest.mark.slow
def test_200_files_compute_what_was_trained(tmp_path):
    for seed in range(200):
        check_promise(seed, tmp_path)
