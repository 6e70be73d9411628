"""Strategies by name; replicas and workers together equal one device."""

import json
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from workers import finish, fitted

from kbp import data
from kbp.benchmarks.distribution.workers import start_workers
from kbp.errors import UserError
from kbp.training import checkpoint, distribution
from kbp.training.distribution import keras_workarounds, strategies

WORKER = Path(__file__).parents[1] / "workers.py"


@pytest.fixture(scope="module")
def one_device():
    return fitted(tf.distribute.get_strategy())


@pytest.mark.long
def test_two_workers_are_one_device(one_device, tmp_path):
    workers = start_workers(tmp_path, [WORKER, tmp_path / "{}.npz"], 2)
    weights, *rest = one_device
    finish(tmp_path, workers)
    first, second = (np.load(tmp_path / f"{i}.npz") for i in range(2))
    for name, expected in zip(first.files, [*weights, *rest], strict=True):
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_allclose(first[name], expected, atol=1e-6, rtol=2e-6)


@pytest.mark.parametrize("count", [48, 50])
def test_replicas_evaluate_shares_as_one_device_does(count):
    rng = np.random.default_rng(0)
    examples = data.Examples(
        rng.normal(size=(count, 3)).astype("float32"), rng.integers(0, 2, count)
    )
    found = []
    for name in ("one_device", "mirrored"):
        strategy = distribution.create_strategy(name)
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile("sgd", loss, metrics=["accuracy"])
        size = distribution.evaluation_batch_size(strategy, count, 12)
        make = partial(data.evaluation_batches, examples, size)
        # Of data that end too early Keras warns, which is an error here.
        batches = distribution.shared(strategy, make, counted=True)
        found.append(model.evaluate(batches, verbose=0))
    np.testing.assert_allclose(*found, rtol=1e-6)


@pytest.mark.slow
def test_two_workers_read_an_epoch_once(tmp_path):
    workers = start_workers(tmp_path, [WORKER, tmp_path / "{}.npz", "epoch"], 2)
    finish(tmp_path, workers)
    held = [np.load(tmp_path / f"{i}.npz") for i in range(2)]
    batches = np.concatenate([x["labels"] for x in held], axis=1)
    whole = data.Examples(np.zeros((50, 1)), np.arange(50))
    right = data.training_batches(whole, 12, seed=3, start_step=4)
    np.testing.assert_array_equal(
        batches, [y for _, y in right.take(4).as_numpy_iterator()]
    )
    assert len({*batches.ravel()}) == 48
    # Batches are read ahead, and of each nothing but the own half.
    ahead = [y for _, y in right.take(100).as_numpy_iterator()]
    for i, own in enumerate(held):
        halves = {tuple(y[6 * i : 6 * i + 6]) for y in ahead}
        seen = {tuple(read) for read in own["seen"]}
        assert {tuple(y) for y in own["labels"]} <= seen <= halves


@pytest.mark.slow
def test_plain_keras_still_needs_the_mend_for_workers(tmp_path):
    words = [WORKER, tmp_path / "{}.npz", "plain"]
    workers = start_workers(tmp_path, words, 2)
    assert all(worker.wait(200) for worker in workers)
    assert "PerReplica" in (tmp_path / "0.log").read_text()


@pytest.mark.long
def test_two_replicas_are_one_device(one_device):
    one = one_device
    two = fitted(distribution.create_strategy("mirrored"))
    for a, b in zip([*one[0], *one[1:]], [*two[0], *two[1:]], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6, rtol=2e-6)


@pytest.mark.slow
def test_plain_keras_still_needs_the_mend_for_several_steps(monkeypatch):
    monkeypatch.setattr(
        keras_workarounds, "execute_steps", lambda model, steps: None
    )
    with pytest.raises(tf.errors.InvalidArgumentError):
        fitted(distribution.create_strategy("mirrored"), steps=10)


def test_no_replica_is_left_without_examples():
    two = distribution.create_strategy("mirrored")
    one = tf.distribute.get_strategy()
    assert distribution.evaluation_batch_size(one, 97, 16) == 16
    assert distribution.evaluation_batch_size(two, 96, 16) == 16
    assert distribution.evaluation_batch_size(two, 97, 16) == 14  # 13 are left
    assert distribution.evaluation_batch_size(two, 21, 4) == 3
    assert distribution.evaluation_batch_size(two, 3, 16) == 4
    with pytest.raises(UserError, match="1 validation examples cannot be"):
        distribution.evaluation_batch_size(two, 1, 2)


def test_own_reductions_of_structures_are_tensorflow_s():
    strategy = distribution.create_strategy("mirrored")
    values = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(context.replica_id_in_sync_group + 1.0)
    )
    first, second = strategy.reduce("SUM", (values, values), axis=None)
    assert float(first) == float(second) == 3


def test_tpu_evaluates_batches_of_one_shape(monkeypatch):
    monkeypatch.setattr(strategies, "_device", lambda strategy: "TPU")
    two = distribution.create_strategy("mirrored")
    assert distribution.evaluation_batch_size(two, 100, 16) == 10
    assert distribution.evaluation_batch_size(two, 97, 16) == 16


def test_replicas_drop_different_values():
    strategy = distribution.create_strategy("mirrored")

    def dropped(model):
        run = tf.function(lambda x: strategy.run(model, (x,), {"training": 1}))
        values = strategy.experimental_local_results(run(tf.ones((1, 64))))
        return [value.numpy() for value in values]

    with strategy.scope():
        inputs = keras.Input((64,))
        outputs = keras.layers.Dropout(0.5, seed=1)(inputs)
        model = keras.Model(inputs, outputs)
        model.compile("sgd", "mse")
    first, second = dropped(model)
    np.testing.assert_array_equal(first, second)  # Keras's own
    content = checkpoint.to_bytes(model)
    with strategy.scope():
        model, _ = checkpoint.from_bytes(content)
    distribution.prepare(model)
    once, twice = dropped(model), dropped(model)
    assert len({values.tobytes() for values in (*once, *twice)}) == 4
    # Elsewhere the layer is as it was.
    inputs = keras.Input((64,))
    outputs = keras.layers.Dropout(0.5, seed=1)(inputs)
    plain = keras.Model(inputs, outputs)
    plain(tf.ones((1, 64)), training=True)
    np.testing.assert_array_equal(
        plain(tf.ones((1, 64)), training=True), once[0]
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "TF_CONFIG must be {"),
        ("[1]", "TF_CONFIG must be {"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "TF_CONFIG must be {"),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, '
            '"task": {"type": "worker", "index": 0}}',
            "does not train with a 'ps'",
        ),
        (
            '{"cluster": {"worker": ["a:1"]}, '
            '"task": {"type": "worker", "index": 1}}',
            "TF_CONFIG must be {",
        ),
        ("", "needs TF_CONFIG"),
    ],
)
def test_wrong_tf_config_is_refused(config, message, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UserError, match=message):
        distribution.create_strategy("multi_worker")


@pytest.mark.long
def test_absent_tpu_and_parameter_servers_are_refused(monkeypatch):
    monkeypatch.delenv("TPU_NAME", raising=False)
    with pytest.raises(UserError, match="needs TPU_NAME"):
        distribution.create_strategy("tpu")
    monkeypatch.setenv("TPU_NAME", "local")
    with pytest.raises(UserError, match="no TPU 'local' here"):
        distribution.create_strategy("auto")
    with pytest.raises(UserError, match="does not train with Parameter"):
        distribution.create_strategy("parameter_server")


def test_chief_is_the_first(monkeypatch):
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    for kind, index, expected in (
        ("chief", 0, True),
        ("worker", 0, False),
        ("worker", 1, False),
    ):
        task = {"type": kind, "index": index}
        config = json.dumps({"cluster": cluster, "task": task})
        monkeypatch.setenv("TF_CONFIG", config)
        assert distribution.is_chief("auto") is expected
        assert distribution.is_chief("one_device")
        assert distribution.num_workers() == 3
    monkeypatch.delenv("TF_CONFIG")
    assert distribution.is_chief("auto")
    assert distribution.num_workers(default=1) == 1


def test_auto_is_one_device_here(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    strategy = distribution.create_strategy()
    assert strategy is tf.distribute.get_strategy()
    assert distribution.from_chief(strategy, b"abc") == b"abc"
