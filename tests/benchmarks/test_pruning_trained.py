"""The race from a trained network: alike for all, and what it says."""

import json
from dataclasses import asdict, replace

import keras
import numpy as np
import pytest

from kbp import sparsity
from kbp.benchmarks.core.log import Log
from kbp.benchmarks.pruning.trial import Trial
from kbp.benchmarks.pruning_trained import methods, report
from kbp.benchmarks.pruning_trained import training as training_module
from kbp.benchmarks.pruning_trained.methods import DENSE, METHODS
from kbp.benchmarks.pruning_trained.plan import plan, trials
from kbp.benchmarks.pruning_trained.training import (
    Protocol,
    TaughtLoss,
    Training,
)
from kbp.benchmarks.pruning_trained.trial import Trainer
from kbp.errors import UserError
from kbp.training import distilled

pytestmark = pytest.mark.usefixtures("images")

TINY = Protocol(
    width=16,
    blocks=1,
    batch_size=8,
    dense_steps=3,
    steps=4,
    rounds=2,
    score_steps=1,
    calibration_batches=1,
    end=0.5,
    speedups=(1.5,),
    zeros=(0.8,),
    seeds=2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("race")


@pytest.fixture
def trainer(folder):
    """With a dense network, trained for three steps."""
    trainer = Trainer(TINY, None, folder)
    if not (folder / "dense-1.keras").exists():
        trainer.run(Trial(DENSE, 1.0, 1))
    return trainer


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        name
        if name == "DTM by latency"
        else pytest.param(name, marks=pytest.mark.slow)
        for name in METHODS
    ],
)
def test_every_method_meets_its_level(name, trainer, folder):
    level = 1.5 if METHODS[name].structured else 0.8
    result = trainer.run(Trial(name, level, 1))
    assert 0 <= result["accuracy"] <= 1
    assert json.loads(json.dumps(result)) == result
    if METHODS[name].structured:
        small = keras.models.model_from_json(result["network"])
        assert small.count_params() == result["parameters"]
        dense = keras.saving.load_model(folder / "dense-1.keras")
        share = trainer.table.predict(small) / trainer.table.predict(dense)
        # Channels go in eights, parameters only tell about the latency, and a
        # uniform network of 16 channels can but halve them.
        assert 0.3 < share < (0.8 if "parameters" in name else 1 / 1.5 + 1e-6)
        for file in result["files"].values():
            assert (folder / file["name"]).stat().st_size == file["bytes"]
    else:
        assert result["zeros"] == pytest.approx(0.8, abs=0.01)
        assert "files" not in result


@pytest.mark.slow
def test_a_diverged_training_is_a_result(tmp_path):
    # More steps than HybridOptimizer skips by default.
    protocol = replace(TINY, steps=14, pruning_rate=1e30)
    trainer = Trainer(protocol, None, tmp_path)
    trainer.run(Trial(DENSE, 1.0, 1))
    result = trainer.run(Trial("group magnitude", 1.5, 1))
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert 0 <= result["accuracy"] < 0.5
    for file in result["files"].values():
        assert (tmp_path / file["name"]).stat().st_size == file["bytes"]


def test_without_its_dense_network_a_trial_does_not_run(tmp_path, trainer):
    alone = Trainer.__new__(Trainer)
    alone.__dict__.update({**vars(trainer), "folder": tmp_path})
    with pytest.raises(UserError, match=r"dense-2\.keras: missing"):
        alone.run(Trial("L1 uniform", 1.5, 2))


@pytest.mark.long
def test_files_of_another_race_are_refused(trainer, monkeypatch):
    with pytest.raises(UserError, match="holds networks of another race"):
        Trainer(replace(TINY, steps=5), None, trainer.folder)
    table = trainer.folder / "latency_table.json"
    before, other = table.read_bytes(), {"processor": "other"}
    Trainer(TINY, None, trainer.folder)
    assert table.read_bytes() == before
    monkeypatch.setattr(
        "kbp.benchmarks.pruning_trained.trial.machine", other.copy
    )
    assert Trainer(TINY, None, trainer.folder).table.operations
    origin = json.loads((trainer.folder / "race.json").read_text())
    assert origin["machine"] == other


def training_of(trainer, trial):
    return Training(TINY, trainer.images, trial, folder=trainer.folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("taught", "stop"), [(False, 2), (True, 2), (True, 3), (True, 5)]
)
def test_stopped_training_goes_on(taught, stop, trainer, tmp_path, monkeypatch):
    monkeypatch.setattr(training_module, "SAVE_EVERY", 1)

    def train(folder):
        training = training_of(trainer, Trial("narrower", 1.5, 1))
        training.folder = folder
        training.outputs = np.load(trainer.folder / "dense-1.npy")
        keras.utils.set_random_seed(1)
        return training.fit_new(trainer._network(), taught=taught)

    whole = train(tmp_path / "whole")

    save = training_module.Checkpoints.save

    def save_and_stop(self, model, state):
        save(self, model, state)
        if int(model.optimizer.iterations) == stop:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training_module.Checkpoints, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "parts")
    again = train(tmp_path / "parts")
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_two_parts_are_one_training(trainer):
    halves = keras.saving.load_model(trainer.folder / "dense-1.keras")
    whole = keras.models.clone_model(halves)
    whole.set_weights(halves.get_weights())
    training = training_of(trainer, Trial("L1 uniform", 1.5, 1))
    training.outputs = training.record(halves)
    (all_batches, first, second) = (
        list(batches.as_numpy_iterator())
        for batches in (
            training.batches(),
            training.batches().take(2),
            training.batches(2),
        )
    )
    for a, b in zip(all_batches, [*first, *second], strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])
    training.fit(whole, stop=0.5)
    training.fit(halves, stop=0.5)
    for a, b in zip(whole.get_weights(), halves.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    training.compile(halves, 2, 4, 1.0)
    assert int(halves.optimizer.iterations) == 2


def test_the_loss_is_that_of_distilled(trainer):
    teacher = keras.saving.load_model(trainer.folder / "dense-1.keras")
    student = trainer._network()
    training = training_of(trainer, Trial("L1 uniform", 1.5, 1))
    training.outputs = training.record(teacher)
    images, targets = next(iter(training.batches()))
    logits = student(images)
    student.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    weight = trainer.protocol.distillation
    with distilled(student, teacher, weight=weight, temperature=2.0):
        expected = student.compute_loss(images, targets[:, 0], logits)
    found = TaughtLoss(2.0)(targets, logits)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    without = next(iter(training.new_batches(0, taught=False)))[1]
    np.testing.assert_array_equal(without[:, 1:], 0.0)


def test_norms_of_a_group_count_its_kernels_and_scales():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(3, name="first")(inputs)
    norm = keras.layers.BatchNormalization(name="norm")
    x = keras.layers.ReLU()(norm(x))
    model = keras.Model(inputs, keras.layers.Dense(2, name="last")(x))
    rng = np.random.default_rng(0)
    kernel, bias, reader = (
        rng.normal(size=shape) for shape in ((4, 3), 3, (3, 2))
    )
    model.get_layer("first").set_weights([kernel, bias])
    model.get_layer("last").set_weights([reader, np.zeros(2)])
    # Scales, and what is as large as it likes: offsets and statistics.
    scales = rng.uniform(0.5, 2.0, size=(4, 3)) * [[1], [9], [9], [900]]
    norm.set_weights(scales)
    masked = sparsity.apply_dtm(
        model, granularity="channel", protect_ends=False
    )
    (gate,) = sparsity.masked_layers(masked)
    gate.kernel.assign(np.zeros(3))  # is none of the network's weights
    expected = (kernel**2).sum(axis=0) + scales[0] ** 2
    expected += (reader**2).sum(axis=1)
    (found,) = methods.group_norms(masked, model).values()
    np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-5)


def test_dense_network_of_a_seed_comes_before_its_methods():
    assert [*plan(["L1 uniform", "DTM zeros"], TINY, [])] == [
        [Trial(DENSE, 1.0, 1)],
        [
            Trial(DENSE, 1.0, 2),
            Trial("L1 uniform", 1.5, 1),
            Trial("DTM zeros", 0.8, 1),
        ],
        [Trial("L1 uniform", 1.5, 2), Trial("DTM zeros", 0.8, 2)],
    ]


def result_of(trial, accuracy, size=None):
    name = f"{trial.method[0]}{trial.seed}"
    files = {}
    if size:
        files["files"] = {
            "float32": {"name": f"{name}.f", "bytes": 4 * size},
            "int8": {
                "name": f"{name}.i",
                "bytes": size,
                "accuracy": accuracy - 0.01,
            },
        }
    common = {"parameters": 1000, "multiply_adds": 4e6, "zeros": 0.0}
    common |= {"accuracy": accuracy, "commit": "c"}
    return {**asdict(trial), **common, **files}


def test_each_panel_has_the_dense_network_of_its_dtype(tmp_path, monkeypatch):
    log = Log(tmp_path / "race.jsonl", TINY)
    results = [result_of(t, 0.9, 10_000) for t in trials(DENSE, TINY)]
    drawn = {}
    monkeypatch.setattr(
        report, "accuracy_by_level", lambda panels, **more: drawn.update(more)
    )
    report.plot(log.head, results)
    assert drawn["baselines"] == {
        "milliseconds, float32": [0.9, 0.9],
        "milliseconds, int8": [0.89, 0.89],
    }
    report.plot(log.head, [])
    assert drawn["baselines"] == {}


def test_tables_say_what_the_race_says(tmp_path):
    log = Log(tmp_path / "race.jsonl", TINY)
    results = [
        *(
            result_of(t, 0.88 + t.seed / 100, 10_000)
            for t in trials(DENSE, TINY)
        ),
        *(
            result_of(t, 0.86 + t.seed / 50, 4_000)
            for t in trials("DTM by latency", TINY)
        ),
        *(result_of(t, 0.9) for t in trials("DTM zeros", TINY)),
        result_of(Trial("L1 uniform", 1.5, 1), 0.8, 4_000),  # not finished
        {
            "latency": {
                **{"d1.f": [1, 2.0, 3], "d2.f": [1, 2.2, 3]},
                **{"d1.i": [1, 0.5, 3], "d2.i": [1, 0.5, 3]},
                **{"D1.f": [1, 1.0, 3], "D2.f": [1, 1.1, 3]},
                **{"D1.i": [1, 0.2, 3], "D2.i": [1, 0.22, 3]},
                "L1.f": [1, 1.0, 3],
            },
            "commit": "d",
        },
    ]
    lines = report.markdown_table(log.head, results).splitlines()
    # Standard deviations by hand: 1 / sqrt(2) and 2 / sqrt(2) points.
    assert lines[2:4] == [
        "| dense | 1x | 89.50% ± 0.71% | 88.50% ± 0.71% | 2.100 ms (1.00x) | "
        "0.500 ms (4.20x) | 1,000 | 4.00 M | 40 kB | 10 kB |",
        "| **DTM by latency** | 1.5x | 89.00% ± 1.41% | 88.00% ± 1.41% | "
        "1.050 ms (2.00x) | 0.210 ms (10.00x) | 1,000 | 4.00 M | 16 kB | "
        "4 kB |",
    ]
    assert lines[5] == "| zeros among the weights | 80% |"
    assert lines[7] == "| **DTM zeros** | 90.00% ± 0.00% |"
    assert "ResNet-8 of width 16" in lines[10]
    assert "<svg" in report.plot(log.head, results)
    unmeasured = report.markdown_table(log.head, results[:-1]).splitlines()
    assert "88.50% ± 0.71% | - | - | 1,000" in unmeasured[2]
    assert "<svg" in report.plot(log.head, results[:-1])
    assert "<svg" in report.plot(log.head, [])
    empty = report.markdown_table(log.head, [])
    assert empty == "No method has finished yet."
