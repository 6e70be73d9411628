"""Masks on whole models: applied, driven, fixed, stripped."""

import io

import keras
import numpy as np
import pytest
from contracts import as_numpy
from rich.console import Console

import kbp
from kbp import sparsity


@pytest.fixture
def model():
    return kbp.models.PyramidBPNet((8, 8, 1), 4, width=8)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.random((32, 8, 8, 1), "float32"), rng.integers(0, 4, 32)


def compiled(model, learning_rate=0.01):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(kbp.HybridOptimizer(learning_rate), loss)
    return model


def trained(model, data, target=0.6, epochs=4, **schedule):
    pruned = compiled(sparsity.apply_dtm(model))
    callback = sparsity.DTMSchedule(target, every=1, **schedule)
    pruned.fit(*data, epochs=epochs, verbose=0, callbacks=[callback])
    return pruned, callback


def test_masks_start_as_all_ones(model, data):
    pruned = sparsity.apply_dtm(model)
    np.testing.assert_array_equal(
        as_numpy(pruned(data[0])), as_numpy(model(data[0]))
    )
    assert sparsity.kernel_sparsity(pruned) == 0


def test_ends_stay_dense_unless_asked():
    model = kbp.models.PyramidBPNet((8, 8, 1), 4, num_scales=3, width=8)

    def masked(**arguments):
        pruned = sparsity.apply_dtm(model, **arguments)
        return {layer.name for layer in sparsity.masked_layers(pruned)}

    ends = {"scale0_fine_conv", "scale0_coarse_conv", "logits"}
    every = masked(protect_ends=False)
    assert ends <= every
    assert masked() == every - ends
    assert masked(skip=["scale1_dense"]) == every - ends - {"scale1_dense"}


@pytest.mark.parametrize("epochs", [1, 3, 7])
def test_target_is_met_at_the_end(model, data, epochs):
    pruned, callback = trained(model, data, 0.6, epochs)
    for layer in sparsity.masked_layers(pruned):
        size = as_numpy(layer.kernel).size
        share = 1 - sparsity.hard_mask(layer).mean()
        assert abs(share - 0.6) <= 0.5 / size + 1e-9
    assert len(callback.history) == epochs


def test_sparsity_never_falls_while_training(model, data):
    _, callback = trained(model, data, 0.8, 8)
    shares = [np.mean(list(epoch.values())) for epoch in callback.history]
    assert shares == sorted(shares)
    assert 0.05 < shares[0] < shares[-1]


def test_target_of_zero_prunes_nothing(model, data):
    pruned, _ = trained(model, data, 0.0)
    assert sparsity.kernel_sparsity(pruned) == 0


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


def test_stripped_model_is_plain_and_equal(model, data):
    pruned, _ = trained(model, data)
    plain = sparsity.strip(pruned)
    assert not any(
        isinstance(layer, kbp.layers.TransformedLayer) for layer in plain.layers
    )
    np.testing.assert_array_equal(
        as_numpy(plain(data[0])), as_numpy(pruned(data[0]))
    )
    zeros = sparsity.kernel_sparsity(plain)
    assert zeros == sparsity.kernel_sparsity(pruned)
    kernels = [as_numpy(w) for w in plain.weights if len(w.shape) > 1]
    counted = sum(int((k == 0).sum()) for k in kernels)
    assert zeros == counted / sum(k.size for k in kernels)


def test_fixed_masks_never_drift(model, data, tmp_path):
    pruned, _ = trained(model, data)
    masks = [sparsity.hard_mask(x) for x in sparsity.masked_layers(pruned)]
    fixed = compiled(sparsity.fix_masks(pruned), 0.1)
    np.testing.assert_array_equal(
        as_numpy(fixed(data[0])), as_numpy(pruned(data[0]))
    )
    fixed.fit(*data, epochs=3, verbose=0)
    fixed.save(tmp_path / "fixed.keras")
    loaded = keras.saving.load_model(tmp_path / "fixed.keras")
    loaded.fit(*data, epochs=2, verbose=0)
    for layer, mask in zip(sparsity.masked_layers(loaded), masks, strict=True):
        np.testing.assert_array_equal(sparsity.hard_mask(layer), mask)
        np.testing.assert_array_equal(as_numpy(layer.kernel)[mask == 0], 0)


def test_masks_survive_saving(model, data, tmp_path):
    pruned, _ = trained(model, data)
    pruned.save(tmp_path / "pruned.keras")
    loaded = keras.saving.load_model(tmp_path / "pruned.keras")
    for a, b in zip(pruned.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(as_numpy(a), as_numpy(b))
    np.testing.assert_array_equal(
        as_numpy(loaded(data[0])), as_numpy(pruned(data[0]))
    )


def test_channel_masks_remove_whole_channels(model, data):
    pruned = compiled(sparsity.apply_dtm(model, granularity="channel"))
    pruned.fit(
        *data, epochs=2, verbose=0, callbacks=[sparsity.DTMSchedule(0.5)]
    )
    for layer in sparsity.masked_layers(pruned):
        mask = sparsity.hard_mask(layer)
        channels = mask.reshape(-1, mask.shape[-1])
        assert set(channels.mean(0)) <= {0.0, 1.0}
        assert channels.mean() == 0.5


def test_one_channel_always_stays(data):
    inputs = keras.Input((8, 8, 1))
    x = kbp.layers.DTMConv2D(4, 3, granularity="channel")(inputs)
    outputs = keras.layers.GlobalAveragePooling2D()(x)
    model = compiled(keras.Model(inputs, outputs))
    model.fit(*data, verbose=0, callbacks=[sparsity.DTMSchedule(0.95)])
    (layer,) = sparsity.masked_layers(model)
    assert sparsity.hard_mask(layer).mean() == 0.25


def test_wrapper_of_another_name_and_kernel_is_stripped():
    inputs = keras.Input((3,), dtype="int32")
    wrapped = kbp.layers.TransformedLayer(
        keras.layers.Embedding(5, 2),
        [kbp.layers.DTM(threshold=0.02)],
        kernel="embeddings",
        name="masked",
    )
    model = keras.Model(inputs, wrapped(inputs))
    x = np.array([[0, 3, 4]])
    for new in (sparsity.strip(model), sparsity.fix_masks(model)):
        assert new.get_layer("masked") is not wrapped
        np.testing.assert_array_equal(as_numpy(new(x)), as_numpy(model(x)))


def test_many_skips_take_no_time_to_walk():
    inputs = keras.Input((4,))
    x = inputs
    for _ in range(40):  # 2^40 paths
        x = keras.layers.Add()([x, keras.layers.ReLU()(x)])
    x = keras.layers.Dense(4, name="first")(x)
    x = keras.layers.Dense(4, name="inner")(x)
    model = keras.Model(inputs, keras.layers.Dense(4, name="last")(x))
    pruned = sparsity.apply_dtm(model)
    assert [x.name for x in sparsity.masked_layers(pruned)] == ["inner"]


def test_summary_counts_what_is_kept(model, data):
    pruned, _ = trained(model, data, 0.6)
    console = Console(record=True, width=120, file=io.StringIO())
    rows = sparsity.summary(pruned, console=console)
    assert len(rows) == len(list(sparsity.masked_layers(pruned)))
    for row, layer in zip(rows, sparsity.masked_layers(pruned), strict=True):
        assert row.kept == sparsity.hard_mask(layer).sum()
        assert row.name in console.export_text(clear=False)


def test_dtm_layers_strip_to_keras_layers():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            kbp.layers.DTMDense(8, threshold=0.3, activation="relu"),
            kbp.layers.DTMDense(2, threshold=0.3),
        ]
    )
    plain = sparsity.strip(model)
    assert [type(x) for x in plain.layers[1:]] == [keras.layers.Dense] * 2
    x = np.random.default_rng(0).random((3, 4), "float32")
    np.testing.assert_array_equal(as_numpy(plain(x)), as_numpy(model(x)))


def test_unknown_layer_is_named_with_the_nearest(model):
    with pytest.raises(ValueError, match=r"'scale0_dens'.*scale0_dense"):
        sparsity.apply_dtm(model, skip=["scale0_dens"])


def test_model_without_anything_to_prune_is_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="nothing to prune"):
        sparsity.apply_dtm(model)


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
        ({"target_sparsity": 0.5, "every": 0}, "`every` must be positive"),
    ],
)
def test_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        sparsity.DTMSchedule(**arguments)
