"""Checkpoints are whole, whatever happens while they are written."""

import errno
import os
import time

import keras
import numpy as np
import pytest
from disks import Disk, Killed

import kbp
from kbp._utils.files import remove_unfinished
from kbp.errors import UserError
from kbp.training.checkpoint import Checkpoints


@pytest.fixture(scope="module")
def model():
    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    made.compile(kbp.HybridOptimizer(), "mse")
    made.train_on_batch(np.ones((2, 2)), np.ones((2, 1)))
    return made


@pytest.mark.long
@pytest.mark.parametrize(
    "error",
    [Killed, errno.ENOSPC, pytest.param(errno.EIO, marks=pytest.mark.slow)],
)
def test_no_save_is_torn(error, model, tmp_path, monkeypatch):
    """Some 200 saves fail, at each of their system calls in turn."""
    checkpoints = Checkpoints(tmp_path, "train", keep=2)
    torn = saved = 0
    model.optimizer.iterations.assign(0)
    checkpoints.save(model, {"step": 0})
    for step in range(1, 68):
        model.optimizer.iterations.assign(step)
        with monkeypatch.context() as patch:
            disk = Disk(tmp_path, step % 6, error, patch)
            try:
                checkpoints.save(model, {"step": step})
                saved += 1
            except (UserError, Killed):
                assert disk.failed
        remove_unfinished(tmp_path)
        loaded, state = checkpoints.load()
        torn += int(loaded.optimizer.iterations.numpy()) != state["step"]
        assert state["step"] <= step
        if not disk.failed:
            assert state["step"] == step
    assert torn == 0
    assert 5 < saved < 30  # some got through
    assert len(list(tmp_path.iterdir())) <= 3


def test_one_checkpoint_stays_of_a_step(model, tmp_path):
    checkpoints = Checkpoints(tmp_path, "train", keep=2)
    for step, number in ((1, 0), *((2, n) for n in range(8))):
        model.optimizer.iterations.assign(step)
        checkpoints.save(model, {"number": number})
        assert checkpoints.load()[1] == {"number": number}
    assert [int(p.name.split("-")[1]) for p in checkpoints._files()] == [2, 1]


def test_a_clock_that_goes_back_changes_nothing(model, tmp_path):
    checkpoints = Checkpoints(tmp_path, "train", keep=2)
    now = time.time()
    # The newest file by its step is from last year, older ones are to come.
    for step, moment in ((1, 9e8), (2, 1e8), (3, -3e7)):
        model.optimizer.iterations.assign(step)
        path = checkpoints.save(model, {"step": step})
        os.utime(path, (now + moment,) * 2)
    assert checkpoints.load()[1] == {"step": 3}
    assert [int(p.name.split("-")[1]) for p in checkpoints._files()] == [3, 2]
