"""A new head is trained first, then all of a network."""

import csv
import io
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import photographs
import pytest
from keras import layers
from rich.console import Console

from kbp import training
from kbp.errors import UserError
from kbp.models import register_model
from kbp.recipes import Recipe
from kbp.training import checkpoint, trainer, transfer

RNG = np.random.default_rng(0)


@pytest.fixture
def network(own_registries):
    """A small network, trained before, under a head."""

    @register_model("with_backbone")
    def WithBackbone(input_shape, num_outputs, *, width: int = 8):
        image = keras.Input(input_shape)
        x = layers.Conv2D(width, 3, use_bias=False, name="convolution")(image)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.Conv2D(width, 3, activation="relu")(x)
        backbone = keras.Model(image, x, name="backbone")
        inputs = keras.Input(input_shape)
        x = layers.GlobalAveragePooling2D()(backbone(inputs))
        x = layers.Dropout(0.2)(x)
        return keras.Model(inputs, layers.Dense(num_outputs)(x))

    return "with_backbone"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    photographs.write(folder, 10)
    return folder


def recipe(photos, architecture, **section):
    return Recipe.parse(
        {
            "model": {"architecture": architecture},
            "data": {
                "name": "image_folder",
                "folder": str(photos),
                "image_size": 16,
            },
            "training": {
                **{"epochs": 1, "frozen_epochs": 2, "batch_size": 8},
                **section,
            },
            "quantization": {"epochs": 1},
            "export": {"benchmark_rounds": 1},
        }
    )


def run(recipe, folder, **options):
    console = Console(file=io.StringIO(), width=120)
    return training.run(recipe, folder, console=console, **options)


def kernels(path):
    model = checkpoint.load(path)
    (backbone,) = (x for x in model.layers if x.name == "backbone")
    return model, {
        "backbone": backbone.get_layer("convolution").get_weights()[0],
        "head": model.layers[-1].get_weights()[0],
        "statistics": backbone.layers[2].get_weights()[2],
    }


@pytest.mark.long
def test_the_head_is_trained_alone_and_then_all(photos, network, tmp_path):
    given = recipe(photos, network, keep_checkpoints=9)
    run(given, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    first, second = sorted(folder.glob("head-*.keras"))
    (last,) = folder.glob("train-*.keras")
    (model, one), (_, two), (whole, three) = map(kernels, (first, second, last))
    assert len(model.trainable_weights) == 2
    assert len(whole.trainable_weights) == 7
    np.testing.assert_array_equal(one["backbone"], two["backbone"])
    np.testing.assert_array_equal(one["statistics"], two["statistics"])
    assert np.abs(one["head"] - two["head"]).max() > 0
    for name, values in three.items():
        assert np.abs(values - two[name]).max() > 0, name
    with (tmp_path / "run" / "metrics.csv").open() as file:
        stages = [row["stage"] for row in csv.DictReader(file)]
    assert stages == ["head", "head", "train", "quantize"]


@pytest.mark.slow
def test_a_run_that_stopped_twice_ends_as_one_that_did_not(
    photos, network, tmp_path, monkeypatch
):
    """With 2 steps an epoch: in the head's epochs, and at the others."""
    given = recipe(photos, network)
    run(given, tmp_path / "whole")
    seen = []

    def count(self, batch, logs=None):
        seen.append(batch)
        # As a signal would.
        self.stopping.requested = len(seen) in (3, 5)
        original(self, batch, logs)

    original = trainer.Checkpoint.on_train_batch_end
    monkeypatch.setattr(trainer.Checkpoint, "on_train_batch_end", count)
    for steps in (3, 5):
        with pytest.raises(SystemExit):
            run(given, tmp_path / "part", resume=steps == 5)
        assert len(seen) == steps
    run(given, tmp_path / "part", resume=True)
    for name in ("model.keras", "model_quantized.keras"):
        whole, part = (
            checkpoint.load(tmp_path / x / name).get_weights()
            for x in ("whole", "part")
        )
        for one, other in zip(whole, part, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_pruning_begins_when_the_head_is_trained(photos, network, tmp_path):
    given = recipe(photos, network, epochs=3)
    given = given.with_settings(
        ["sparsity.target=0.5", "training.batch_size=4"]
    )
    stages = run(given, tmp_path / "run")
    assert stages[-1].nonzero < stages[-1].parameters


def test_a_model_without_a_network_inside_is_refused(photos, tmp_path):
    given = recipe(photos, "pyramid_bpnet")
    with pytest.raises(UserError, match=r"frozen_epochs must be 0 for pyramid"):
        run(given, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_network_of_keras_becomes_a_file_of_integers(photos, tmp_path):
    network = keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(64, 64, 3), alpha=0.35
    )
    weights = tmp_path / "mobilenet_v2.weights.h5"
    network.save_weights(weights)
    given = recipe(photos, "keras.applications:MobileNetV2").with_settings(
        [
            f"model.weights={str(weights)!r}",
            "model.alpha=0.35",
            "data.image_size=64",
        ]
    )
    run(given, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (shown, *_) = run(given, tmp_path / "run", resume=True)
    assert shown.name == "trained"
    record = training.workdir.read_run(tmp_path / "run")
    assert record["float_operations"] == []
    assert record["int8_operations"] < 80
    assert record["verification"]["within_one"] > 0.9


def test_a_stage_that_begins_again_has_the_weights_of_the_head():
    """As after a divergence, which has changed what the first one shared."""

    def build():
        inner = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(2)], name="backbone"
        )
        inputs = keras.Input((3,))
        return keras.Model(inputs, keras.layers.Dense(1)(inner(inputs)))

    make = transfer.begin(
        SimpleNamespace(
            task=SimpleNamespace(build=build, start=lambda model: model),
            recipe=Recipe.parse({"training": {"frozen_epochs": 1}}),
            fit=lambda name, make, **options: make(),
        ),
        seed=0,
    )
    first = make()
    before = first.get_weights()
    first.set_weights([1e4 * weight for weight in before])
    for one, two in zip(before, make().get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
