"""The pruning race: alike for all methods, resumable, and what it says."""

import dataclasses
import json
from dataclasses import asdict

import keras
import numpy as np
import pytest

from kbp import export
from kbp.__main__ import main
from kbp.benchmarks.core import publish
from kbp.benchmarks.core.images import Images
from kbp.benchmarks.core.latencies import latencies
from kbp.benchmarks.core.log import Log
from kbp.benchmarks.core.race import folder_of
from kbp.benchmarks.optimizers import trial as optimizer_trial
from kbp.benchmarks.optimizers.trial import network
from kbp.benchmarks.pruning import methods as pruners
from kbp.benchmarks.pruning import report as report
from kbp.benchmarks.pruning.methods import METHODS, prunable
from kbp.benchmarks.pruning.plan import trials
from kbp.benchmarks.pruning.race import RACE
from kbp.benchmarks.pruning.trial import Protocol, Trainer, Training, Trial
from kbp.errors import UserError
from kbp.quantization import tfmot

pytestmark = pytest.mark.usefixtures("images")
slow = pytest.mark.slow

TINY = Protocol(
    width=4,
    batch_size=8,
    steps=8,
    evaluate_every=2,
    curve_images=16,
    warmup=0.25,
    learning_rate=0.03,
    tfmot_frequency=1,
    multiple_of=2,
    calibration_batches=1,
    levels=(0.5, 0.8),
    seeds=2,
)


class Untrained(Training):
    """Leaves a model as it is, so that what a method prunes is known."""

    def fit(self, model, *callbacks, **options):
        pass


def untrained(method, level):
    return Untrained(TINY, None, Trial(method, level, 1))


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        name if name == "DTM" else pytest.param(name, marks=slow)
        for name in METHODS
    ],
)
def test_every_method_meets_its_level(name, tmp_path):
    level = 0.0 if name == "dense" else 0.8
    result = Trainer(TINY, None, tmp_path).run(Trial(name, level, 1))
    assert len(result["curve"]) == 4
    assert 0 <= result["accuracy"] <= 1
    assert result["step_seconds"] > 0
    assert json.loads(json.dumps(result)) == result
    files = sorted(path.name for path in tmp_path.iterdir())
    if not METHODS[name].structured:
        assert result["parameters"] == network(4).count_params()
        assert result["pruned"] == pytest.approx(level, abs=0.005)
        assert bool(files) == (name == "dense")
    else:
        # Whole pairs of channels go, and with L1 one of all groups at once.
        most = 0.89 if name == "L1 channels" else 0.87
        assert 0.8 <= result["pruned"] < most
    if files:
        assert files == sorted(f["name"] for f in result["files"].values())
        assert 0 <= result["files"]["int8"]["accuracy"] <= 1
        for file in result["files"].values():
            assert (tmp_path / file["name"]).stat().st_size == file["bytes"]


def test_missed_level_is_an_error(tmp_path, monkeypatch):
    method = dataclasses.replace(METHODS["DTM"], prune=METHODS["dense"].prune)
    monkeypatch.setitem(METHODS, "DTM", method)
    monkeypatch.setattr(Training, "fit", Untrained.fit)
    with pytest.raises(RuntimeError, match=r"missed its level 0\.5: 0\.0000"):
        Trainer(TINY, None, tmp_path).run(Trial("DTM", 0.5, 1))


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        name if name == "L1 channels" else pytest.param(name, marks=slow)
        for name in METHODS
    ],
)
def test_a_diverged_training_is_a_result(name, tmp_path):
    protocol = dataclasses.replace(TINY, learning_rate=1e30)
    level = 0.0 if name == "dense" else 0.8
    result = Trainer(protocol, None, tmp_path).run(Trial(name, level, 1))
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert 0 <= result["accuracy"] < 0.5
    assert ("files" in result) == (METHODS[name].structured or not level)
    for file in result.get("files", {}).values():
        assert (tmp_path / file["name"]).stat().st_size == file["bytes"]
    head = {"protocol": asdict(dataclasses.replace(protocol, seeds=1))}
    assert [*report.summarize(head, [result])] == [(name, level)]


@pytest.mark.long
def test_levels_of_channels_are_those_of_the_whole_network():
    # By hand: all groups are halved.
    small = pruners.without_channels(network(4), 0.5, 2)
    kernels = [
        tuple(x.kernel.shape) for x in small.layers if hasattr(x, "kernel")
    ]
    assert sorted(kernels) == sorted(
        [
            *((4, 4, 3, 2), (3, 3, 2, 2), (3, 3, 2, 2)),
            *((3, 3, 2, 4), (3, 3, 4, 4), (1, 1, 2, 4)),
            *((3, 3, 4, 8), (3, 3, 8, 8), (1, 1, 4, 8)),
            (8, 10),
        ]
    )
    count = sum(np.prod(shape) for shape in kernels) + 10
    count += 4 * (3 * 2 + 3 * 4 + 3 * 8)  # of BatchNormalization
    assert small.count_params() == count
    level = 1 - count / network(4).count_params()
    assert 0.35 < pruners.channel_share(network(4), level, 2) <= 0.5
    assert pruners.channel_share(network(4), level + 1e-6, 2) > 0.5
    with pytest.raises(ValueError, match="cannot be reached"):
        pruners.channel_share(network(4), 0.99, 4)


def test_channels_that_are_added_go_by_the_sum_of_their_norms():
    model = network(4)
    kernel = {
        shape: next(
            x.kernel for x in prunable(model) if x.kernel.shape == shape
        )
        for shape in ((3, 3, 16, 16), (1, 1, 8, 16))
    }
    norms = {
        (3, 3, 16, 16): [9.0] * 2 + [4.0] * 6 + [1.0] * 8,
        (1, 1, 8, 16): [1.0] * 2 + [5.0] * 2 + [2.0] * 12,
    }
    for shape, values in norms.items():
        values = np.broadcast_to(values, shape) / np.prod(shape[:3])
        kernel[shape].assign(values)
    (small,) = (
        x.kernel
        for x in pruners.without_channels(model, 0.75, 2).layers
        if hasattr(x, "kernel") and x.kernel.shape == (1, 1, 2, 4)
    )
    found = keras.ops.convert_to_numpy(small).sum((0, 1, 2)) * 4
    np.testing.assert_allclose(found, [1, 1, 5, 5], rtol=1e-6)


def test_one_shot_removes_the_smallest_weights_of_all_kernels():
    model = network(4)
    before = [np.array(x) for x in map(values_of, prunable(model))]
    pruned = pruners.one_shot(untrained("one-shot", 0.8), model)
    after = [values_of(x) for x in prunable(pruned)]
    everything = np.sort(np.concatenate([abs(x).ravel() for x in before]))
    border = everything[int(0.8 * everything.size)]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, np.where(abs(old) < border, 0, old))


def values_of(layer):
    return keras.ops.convert_to_numpy(layer.kernel)


@pytest.mark.long
def test_tf_keras_twin_is_the_same_network_and_trains_alike():
    model = network(4)
    twin = pruners.tf_keras_twin(model, 4)
    x = np.random.default_rng(1).normal(size=(8, 32, 32, 3)).astype("float32")
    # Float32 rounds in another order where tf_keras fuses BatchNormalization.
    np.testing.assert_allclose(
        model.predict_on_batch(x), twin.predict_on_batch(x), atol=1e-5
    )
    protocol = dataclasses.replace(
        TINY, steps=3, evaluate_every=3, warmup=0.34, weight_decay=0.1
    )
    _, tf_keras = tfmot.modules()
    for network_, package in ((model, keras), (twin, tf_keras)):
        training = Training(protocol, Images(None), Trial("dense", 0.0, 1))
        training.fit(network_, keras=package)
    # Three steps of 0.03 to 0 multiply that rounding by the curvature.
    for ours, theirs in zip(
        model.trainable_variables, twin.trainable_variables, strict=True
    ):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(ours), theirs.numpy(), atol=1e-4
        )


@pytest.mark.slow
def test_dtm_at_level_0_is_dense():
    model = network(4)
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    trial = Trial("DTM", 0.0, 1)
    dense = pruners.dense(Training(TINY, Images(None), trial), plain)
    masked = pruners.dtm(Training(TINY, Images(None), trial), model)
    # A soft mask that prunes nothing is at least sigmoid(8) = 0.9997.
    for a, b in zip(dense.get_weights(), masked.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=5e-3)


@pytest.mark.slow
def test_second_half_goes_on_where_the_first_ended():
    halves, whole = network(4), network(4)
    halves.set_weights(whole.get_weights())
    # Without momentum, which begins anew, halves make a whole.
    protocol = dataclasses.replace(TINY, momentum=0.0)
    training = Training(protocol, Images(None), Trial("dense", 0.0, 1))
    training.fit(whole)
    training.fit(halves, stop=0.5)
    training.fit(halves, start=0.5)
    for a, b in zip(whole.get_weights(), halves.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert len(training.curve) == 8
    assert training.curve[:4] == training.curve[4:]


def test_race_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    file = tmp_path / "runs" / "race.jsonl"
    folder = folder_of(file)
    ran, interrupted = [], [True]
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))

    def run(self, trial):
        if interrupted and ran:
            raise KeyboardInterrupt
        ran.append(trial)
        result = {**asdict(trial), "accuracy": 0.1, "pruned": trial.level}
        if trial.method == "dense":
            name = f"{trial.seed}.tflite"
            export.to_tflite(model, folder / name)
            result["files"] = {"float32": {"name": name}}
            result["network"] = model.to_json()
        return result

    monkeypatch.setattr(Trainer, "run", run)
    options = {"protocol": TINY, "names": ["dense", "DTM"], "rounds": 1}
    with pytest.raises(KeyboardInterrupt):
        RACE.run(file, **options)
    assert len(file.read_text().splitlines()) == 2  # the head and a trial
    interrupted.clear()
    results = RACE.run(file, **options)
    assert ran == [*trials("dense", TINY), *trials("DTM", TINY)]
    assert len(ran) == 6
    low, median, high = latencies(results)["2.tflite"]
    assert 0 < low <= median <= high
    assert len(RACE.run(file, **options)) == len(results) == 7
    assert len(RACE.run(file, again=True, **options)) == 8
    assert len(ran) == 6
    (folder / "1.tflite").unlink()
    assert len(RACE.run(file, again=True, **options)) == 9  # made once more
    with pytest.raises(UserError, match="another protocol"):
        RACE.run(file, protocol=Protocol(), names=["dense"])


def test_wrong_name_and_file_are_named(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", "pruning", "TFMOD"]) == 2
    error = capsys.readouterr().err
    assert "unknown method 'TFMOD'; did you mean 'TFMOT'?" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
    for name, other in (
        ("pruning", optimizer_trial.Protocol()),
        ("optimizers", Protocol()),
    ):
        file = tmp_path / f"{name}.jsonl"
        Log(file, other)
        with pytest.raises(UserError, match="is no race of this kind"):
            publish.publish(name, file)
    with pytest.raises(UserError, match=r"none\.jsonl: missing"):
        publish.publish("pruning", tmp_path / "none.jsonl")


def result_of(method, level, seed, accuracy, **more):
    trial = asdict(Trial(method, level, seed))
    common = {"pruned": level, "parameters": 100, "multiply_adds": 4e6}
    common |= {"step_seconds": 0.1, "accuracy": accuracy, "commit": "c"}
    return {**trial, **common, **more}


def files_of(method, seed, accuracy, size):
    return {
        "files": {
            "float32": {"name": f"{method}{seed}.f", "bytes": 4 * size},
            "int8": {
                "name": f"{method}{seed}.i",
                "bytes": size,
                "accuracy": accuracy,
            },
        }
    }


def test_tables_say_what_the_race_says(tmp_path):
    protocol = dataclasses.replace(TINY, levels=(0.5,))
    log = Log(tmp_path / "race.jsonl", protocol)
    results = []
    for seed in (1, 2):
        dense = {**files_of("d", seed, 0.79, 10_000), "step_seconds": 0.08}
        ours = {**files_of("c", seed, 0.69, 4_000), "multiply_adds": 1e6}
        results += [
            result_of("dense", 0.0, seed, 0.78 + seed / 100, **dense),
            result_of("DTM", 0.5, seed, 0.74 + seed / 50),
            result_of(
                "DTM channels", 0.5, seed, 0.7, **{**ours, "pruned": 0.55}
            ),
        ]
    results += [
        result_of("TFMOT", 0.5, 1, 0.75),  # has not finished
        {"latency": {"d1.f": [1, 9, 9]}, "commit": "c"},  # an older one
        {
            "latency": {
                **{"d1.f": [1, 2.0, 3], "d2.f": [1, 2.2, 3]},
                **{"d1.i": [1, 0.5, 3], "d2.i": [1, 0.5, 3]},
                **{"c1.f": [1, 1.0, 3], "c2.f": [1, 1.1, 3]},
                **{"c1.i": [1, 0.2, 3], "c2.i": [1, 0.22, 3]},
            },
            "commit": "d",
        },
    ]
    lines = report.markdown_table(log.head, results).splitlines()
    # Standard deviations by hand: 1 / sqrt(2) and 2 / sqrt(2) points.
    assert lines[2] == "| dense | 79.50% ± 0.71% | - | 1.00x |"
    assert lines[3] == "| **DTM** | - | 77.00% ± 1.41% | 1.25x |"
    assert lines[4] == "| **DTM channels** | - | 70.00% ± 0.00% | 1.25x |"
    assert lines[5] == ""
    assert lines[8] == (
        "| dense | 0% | 0.0% | 4.00 M | 79.50% ± 0.71% | 79.00% ± 0.00% | "
        "2.100 ms (1.00x) | 0.500 ms (4.20x) | 40 kB | 10 kB |"
    )
    assert lines[9] == (
        "| **DTM channels** | 50% | 55.0% | 1.00 M | 70.00% ± 0.00% | "
        "69.00% ± 0.00% | 1.050 ms (2.00x) | 0.210 ms (10.00x) | 16 kB | 4 kB |"
    )
    assert len(lines) == 12
    assert "width 4" in lines[11]
    assert "kbp at c, d." in lines[11]
    svg = report.plot(log.head, results)
    assert svg.count("<svg") == 1
    assert "DTM channels" in svg
    assert report.markdown_table(log.head, []).startswith("No method")
    assert "<svg" in report.plot(log.head, [])
