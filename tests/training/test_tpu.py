"""Training steps compile for a TPU."""

import importlib.util
import io
import os
from functools import partial

import keras
import numpy as np
import pytest
from rich.console import Console

from kbp import zoo
from kbp.__main__ import main
from kbp.errors import UserError
from kbp.recipes import Recipe
from kbp.tasks import make_task
from kbp.training.distribution import tpu
from kbp.training.pipeline import Pipeline

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("libtpu"), reason="libtpu is not installed"
)


@pytest.fixture(scope="module")
def device():
    return tpu.devices("v5e:2x2")[0]


@pytest.fixture(autouse=True)
def _same_environment(monkeypatch):
    for name in ("TPU_SKIP_MDS_QUERY", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


def test_flops_are_those_of_the_matrices(device):
    model = keras.Sequential(
        [keras.Input((256,)), keras.layers.Dense(512, use_bias=False)]
    )
    model.compile(keras.optimizers.SGD(), "mse")
    batch = np.zeros((128, 256), "float32"), np.zeros((128, 512), "float32")
    found = tpu.compile_for(device, tpu.lowered(model, batch))
    # Forward, and the gradient by the kernel; that by the input is not needed.
    assert found.flops == pytest.approx(2 * 2 * 128 * 256 * 512, rel=0.05)
    assert found.chip == "TPU v5 lite"
    weights = 4 * 256 * 512
    assert weights < found.memory < 10 * weights
    assert found.memory_share == found.memory / (16 * 2**30)
    assert found.seconds >= found.flops / 197e12


def test_what_no_tpu_can_hold_is_refused(device):
    model = keras.Sequential(
        [keras.Input((256,)), keras.layers.Dense(512), NotForXLA()]
    )
    model.compile(keras.optimizers.SGD(), "mse")
    batch = np.zeros((2, 256), "float32"), np.zeros((2, 512), "float32")
    with pytest.raises(UserError, match="XLA cannot compile it"):
        tpu.lowered(model, batch)


class NotForXLA(keras.layers.Layer):
    def call(self, x):
        image = keras.ops.reshape(x, (-1, 16, 32, 1))
        image = keras.ops.image.resize(image, (32, 32), interpolation="nearest")
        return keras.ops.reshape(image[:, ::2], (-1, 512))


@pytest.mark.long
def test_command_compiles_both_stages(capsys):
    small = ["model.width=4", "model.num_scales=2", "model.num_blocks=0"]
    small += ["data.image_size=8", "training.batch_size=8"]
    small += ["sparsity.granularity=element", "sparsity.measure=masks"]
    sets = [word for setting in small for word in ("--set", setting)]
    assert main(["check-tpu", "pyramid_bpnet_small.digits", *sets]) == 0
    said = capsys.readouterr().out
    assert said.count(" yes ") == 2
    assert "TPU v5 lite: one of" in said


def test_command_refuses_what_does_not_fit(capsys):
    words = ["check-tpu", "pyramid_bpnet_small.digits"]
    assert main([*words, "--topology", "v9z:2"]) == 2
    assert "topology 'v9z:2'" in capsys.readouterr().err
    assert main([*words, "--set", "training.batch_size=30"]) == 2
    assert "divisible by the 4 chips" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("entry", [e.name for e in zoo.entries()])
def test_every_entry_of_the_zoo_compiles(entry, device):
    recipe: Recipe = zoo.find(entry).recipe
    try:
        pipeline = Pipeline(
            recipe,
            None,
            partial(make_task, recipe, os.environ.get("KBP_DATA")),
            Console(file=io.StringIO()),
        )
    except UserError as error:
        pytest.skip(str(error))
    stages = []
    for stage, model in pipeline.compiled():
        batch = next(iter(pipeline.task.training_batches(seed=0)))
        found = tpu.compile_for(device, tpu.lowered(model, batch))
        assert found.memory_share < 1
        stages.append(stage)
    assert stages == ["train", "quantize"]
