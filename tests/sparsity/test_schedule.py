"""Masks that a schedule drives to a target."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from pruned import compiled, trained, zeros

import kbp
from kbp import sparsity
from kbp.sparsity.thresholds import threshold_of


@pytest.fixture
def model():
    return kbp.models.PyramidBPNet((8, 8, 1), 4, width=8)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.random((32, 8, 8, 1), "float32"), rng.integers(0, 4, 32)


@pytest.mark.long
@pytest.mark.parametrize("epochs", [1, 3, 7])
@pytest.mark.parametrize("budget", ["adaptive", "uniform"])
def test_target_is_met_at_the_end(model, data, epochs, budget):
    pruned, callback = trained(model, data, 0.6, epochs, budget=budget)
    gone, sizes = zeros(pruned).T
    assert abs(gone.sum() - 0.6 * sizes.sum()) <= 1
    uniform = np.abs(gone - 0.6 * sizes) <= 1
    assert uniform.all() == (budget == "uniform")
    assert len(callback.history) == epochs


@pytest.mark.long
def test_sparsity_never_falls_while_training(model, data):
    pruned, callback = trained(model, data, 0.8, 8)
    sizes = zeros(pruned)[:, 1]
    shares = [
        round(float(np.array(list(epoch.values())) @ sizes))
        for epoch in callback.history
    ]
    assert shares == sorted(shares)
    assert 0.05 * sizes.sum() < shares[0] < shares[-1]


def test_target_of_zero_prunes_nothing(model, data):
    pruned, _ = trained(model, data, 0.0)
    assert sparsity.kernel_sparsity(pruned) == 0


@pytest.mark.long
def test_resumed_training_continues_the_schedule(model, data):
    whole, half = (
        compiled(sparsity.apply_dtm(model), learning_rate=0.0) for _ in range(2)
    )
    callback = sparsity.DTMSchedule(0.7)
    whole.fit(*data, epochs=4, verbose=0, callbacks=[callback])
    for first, last in ((0, 2), (2, 4)):
        # A stopped training says what it was to be: the number of epochs.
        schedule = sparsity.DTMSchedule(0.7)
        stop = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs, last=last: setattr(
                half, "stop_training", epoch + 1 == last
            )
        )
        half.fit(
            *data,
            epochs=4,
            initial_epoch=first,
            verbose=0,
            callbacks=[schedule, stop],
        )
        assert schedule.history == callback.history[first:last]


def test_tensorboard_gets_each_layers_sparsity(model, data, tmp_path):
    from tensorboard.backend.event_processing import event_accumulator

    _, callback = trained(model, data, 0.6, 3, log_dir=tmp_path)
    events = event_accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    for name in callback.history[-1]:
        tensors = [e.tensor_proto for e in events.Tensors(f"sparsity/{name}")]
        values = [float(tf.make_ndarray(x)) for x in tensors]
        expected = [epoch[name] for epoch in callback.history]
        np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_one_channel_always_stays(data):
    inputs = keras.Input((8, 8, 1))
    x = kbp.layers.DTMConv2D(4, 3, granularity="channel")(inputs)
    outputs = keras.layers.GlobalAveragePooling2D()(x)
    model = compiled(keras.Model(inputs, outputs))
    with pytest.raises(ValueError, match=r"out of reach.* 75\.0% at most"):
        model.fit(*data, verbose=0, callbacks=[sparsity.DTMSchedule(0.95)])
    model.fit(*data, verbose=0, callbacks=[sparsity.DTMSchedule(0.75)])
    (layer,) = sparsity.masked_layers(model)
    assert sparsity.hard_mask(layer).mean() == 0.25


def test_epoch_of_unknown_length_is_refused(model, data):
    pruned = compiled(sparsity.apply_dtm(model))
    batches = tf.data.Dataset.from_tensors(data).filter(lambda x, y: True)
    with pytest.raises(ValueError, match="`steps_per_epoch`"):
        pruned.fit(
            batches,
            shuffle=False,
            verbose=0,
            callbacks=[sparsity.DTMSchedule(0.5)],
        )


def test_schedule_without_masks_is_refused(model, data):
    compiled(model)
    with pytest.raises(ValueError, match="no DTM mask"):
        model.fit(*data, verbose=0, callbacks=[sparsity.DTMSchedule(0.5)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target_sparsity": 1.0}, r"`target_sparsity` must be in \[0, 1\)"),
        ({"target_sparsity": -0.1}, r"`target_sparsity` must be in \[0, 1\)"),
        ({"target_sparsity": 0.5, "begin": 0.8}, "0 <= begin < end"),
        ({"target_sparsity": 0.5, "temperatures": (5, 1)}, "`temperatures`"),
        ({"target_sparsity": 0.5, "temperatures": 5}, "`temperatures`"),
        ({"target_sparsity": 0.5, "every": 0}, "`every` must be a whole"),
        ({"target_sparsity": 0.5, "measure": "time"}, "`measure` must be one"),
        ({"target_sparsity": 0.5, "budget": "fair"}, "`budget` must be one"),
        (
            {"target_sparsity": 0.5, "multiple_of": 0},
            "`multiple_of` must be a whole",
        ),
    ],
)
def test_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        sparsity.DTMSchedule(**arguments)


@pytest.mark.parametrize("budget", ["uniform", "adaptive", "knapsack"])
def test_weights_that_are_zero_go_first(budget):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((8,)), *map(keras.layers.Dense, (16, 1))]
    model = sparsity.apply_dtm(keras.Sequential(layers), protect_ends=False)
    for layer in sparsity.masked_layers(model):
        kernel = np.array(layer.kernel)
        kernel.ravel()[: kernel.size * 5 // 8] = 0.0
        layer.kernel.assign(kernel)
    schedule = sparsity.DTMSchedule(0.5, budget=budget)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    data = np.ones((8, 8)), np.ones((8, 1))
    fitted = model.fit(*data, epochs=2, verbose=0, callbacks=[schedule])
    assert fitted.history["sparsity"][-1] >= 0.5
    for share in schedule.history[-1].values():  # zeros alone, all or none
        assert share in (0.0, pytest.approx(0.625))


def test_no_threshold_is_a_score():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=200).astype("float32").astype("float64") ** 2
    for count in range(1, 200):
        threshold = np.float32(threshold_of(scores, count, 50.0))
        assert (scores < threshold).sum() == count
        assert not (scores.astype("float32") == threshold).any()
    assert threshold_of(np.ones(5), 3, 50.0) < 1.0
    assert threshold_of(np.zeros(5), 3, 50.0) < 0.0
