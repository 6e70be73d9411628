"""LiteRT's ways to run a file, against XNNPACK at one thread."""

import numpy as np
import pytest

from kbp import zoo
from kbp.export.runtimes import compare, compare_kernels


def test_threads_change_nothing_and_reference_kernels_one_step():
    x = np.random.default_rng(0).random((4, 32, 32, 1), "float32")
    threads, reference = compare_kernels(zoo.file(zoo.DEFAULT), [x])
    assert (threads.outputs, threads.exact) == (40, 1.0)
    assert reference.within_one >= 0.99


def test_differences_are_counted_in_steps():
    right = [np.array([0, 1, 2, 3], "int8")]
    found = [np.array([0, 2, 5, 3], "int8")]
    result = compare._agreement("a", right, found)
    assert (result.maximum, result.exact, result.within_one) == (3, 0.5, 0.75)


def test_differences_of_floats_are_shares_of_the_largest():
    right, found = [np.array([4.0, -8.0])], [np.array([4.0, -6.0])]
    result = compare._agreement("a", right, found)
    assert (result.maximum, result.exact, result.within_one) == (0.25, 0.5, 0.5)


def test_no_examples_are_refused():
    with pytest.raises(ValueError, match="must hold examples"):
        compare_kernels(zoo.file(zoo.DEFAULT), [])
