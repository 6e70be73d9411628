"""A finished run whose files are gone or were changed."""

import io
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

import kbp
from kbp.errors import UserError


def test_runs_without_a_folder_keep_apart_and_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(320, 4)).astype("float32")

    def made(seed):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential(
            [keras.Input((4,)), layers.Dense(1)], name="mine"
        )
        model.compile("adam", "mse")
        silent = Console(file=io.StringIO())
        data = x, x.sum(axis=1)
        options = {"quantize": False, "console": silent}
        return kbp.compress(model, data, **options).folder

    names = ["mine", "mine-2", "mine", "mine-3", "mine-2"]
    folders = [made(seed) for seed in (0, 1, 0, 2, 1)]
    assert folders == [Path("runs") / name for name in names]
    Path("runs/mine-3/run.json").unlink()  # no run, but it is not empty
    with pytest.raises(UserError, match="mine-3: not empty and no work"):
        made(3)


@pytest.mark.long
def test_the_same_call_makes_a_missing_file_again(tmp_path):
    x = np.random.default_rng(0).normal(size=(320, 4)).astype("float32")
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(1)]
    )
    model.compile("adam", "mse")

    def again():
        silent = Console(file=io.StringIO())
        return kbp.compress(
            model,
            (x, x.sum(axis=1)),
            quantization_epochs=0,
            workdir=tmp_path,
            console=silent,
        )

    paths = again().paths
    names = ("int8", "float32", "report")
    before = {name: paths[name].read_bytes() for name in names}
    for name in names:
        paths[name].unlink()
    assert {n: again().paths[n].read_bytes() for n in names} == before
    paths["report"].write_text("mine")
    with pytest.raises(UserError, match=r"report.html: changed"):
        again()
