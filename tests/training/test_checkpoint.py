"""Checkpoints are whole, whatever happens while they are written."""

import errno
import os

import keras
import numpy as np
import pytest

import kbp
from kbp._utils import files
from kbp.training.checkpoint import Checkpoints


class Killed(BaseException):
    """What stands for `kill -9`: nothing else is done."""


@pytest.fixture(scope="module")
def model():
    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    made.compile(kbp.HybridOptimizer(), "mse")
    made.train_on_batch(np.ones((2, 2)), np.ones((2, 1)))
    return made


class Disk:
    """Fails at a moment of a save.

    Args:
        moment: system calls until then; a write fails in its middle.
        error: what happens.
    """

    def __init__(self, moment, error, monkeypatch):
        self.left, self.error, self.failed = moment, error, False
        self.real = {name: getattr(os, name) for name in ("fsync", "replace")}
        for name in self.real:
            monkeypatch.setattr(
                os, name, lambda *a, name=name: self.call(name, *a)
            )
        fdopen = os.fdopen

        def opened(*arguments):
            file = fdopen(*arguments)
            write = file.write
            file = _Wrapped(file)
            file.write = lambda data: self.write(write, data)
            return file

        monkeypatch.setattr(os, "fdopen", opened)
        unlink = files.Path.unlink
        monkeypatch.setattr(
            files.Path,
            "unlink",
            lambda path, **k: None if self.dead else unlink(path, **k),
        )

    @property
    def dead(self):
        return self.failed and self.error is Killed

    def fail(self):
        self.left -= 1
        if self.left < 0:
            self.failed = True
            if self.error is Killed:
                raise Killed
            raise OSError(self.error, os.strerror(self.error))

    def call(self, name, *arguments):
        # The disk may have done it before the process dies.
        if self.left == 0 and self.error is Killed and name == "replace":
            self.real[name](*arguments)
        self.fail()
        self.real[name](*arguments)

    def write(self, write, data):
        if self.left == 0:
            write(data[: len(data) // 2])
        self.fail()
        return write(data)


class _Wrapped:
    def __init__(self, file):
        self.file = file

    def __enter__(self):
        self.file.__enter__()
        return self

    def __exit__(self, *error):
        return self.file.__exit__(*error)


@pytest.mark.parametrize("error", [Killed, errno.ENOSPC, errno.EIO])
def test_no_save_is_torn(error, model, tmp_path, monkeypatch):
    """Some 200 saves fail, at each of their system calls in turn."""
    checkpoints = Checkpoints(tmp_path, "train", keep=2)
    torn = saved = 0
    model.optimizer.iterations.assign(0)
    checkpoints.save(model, {"step": 0})
    for step in range(1, 68):
        model.optimizer.iterations.assign(step)
        with monkeypatch.context() as patch:
            disk = Disk(step % 5, error, patch)
            try:
                checkpoints.save(model, {"step": step})
                saved += 1
            except (OSError, Killed):
                assert disk.failed
        loaded, state = checkpoints.load()
        torn += int(loaded.optimizer.iterations.numpy()) != state["step"]
        assert state["step"] <= step
        if not disk.failed:
            assert state["step"] == step
    assert torn == 0
    assert 5 < saved < 30  # some got through
    assert len(list(tmp_path.iterdir())) <= 3
