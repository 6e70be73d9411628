"""Races without CIFAR-10 and without processes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from kbp.benchmarks.core import pool as processes
from kbp.data import Examples, Splits


@pytest.fixture
def images(monkeypatch, one_process):
    """Random images in CIFAR-10's place."""
    rng = np.random.default_rng(0)
    parts = [
        Examples(
            rng.random((count, 32, 32, 3), "float32"),
            rng.integers(0, 10, count),
        )
        for count in (32, 16, 16)
    ]
    splits = Splits(*parts, class_names=tuple("0123456789"))
    monkeypatch.setattr(
        "kbp.benchmarks.core.images.cifar10.load", lambda data_dir: splits
    )


@pytest.fixture
def one_process(monkeypatch):
    """Let the races run in this process."""

    def pool(workers, context, *, initializer, initargs):
        create, *arguments = initargs
        monkeypatch.setattr(processes, "_trainer", create(*arguments))
        return ThreadPoolExecutor(1)

    monkeypatch.setattr(processes, "ProcessPoolExecutor", pool)
