"""Masks on whole models: applied, fixed, stripped."""

import io

import keras
import numpy as np
import pytest
from contracts import as_numpy
from pruned import compiled, trained, zeros
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


def test_ends_are_all_that_read_inputs_or_give_outputs():
    layers = keras.layers
    first, second = keras.Input((8,)), keras.Input((8,))
    x = layers.Dense(8, name="reads_first")(first)
    x = layers.Dense(8, name="inside")(x)
    both = layers.Concatenate()([x, layers.Flatten()(second)])
    x = layers.Dense(8, name="reads_second")(both)
    aux = layers.Dense(8, name="gives_and_goes_on")(x)
    x = layers.Dense(8, name="behind")(layers.ReLU()(aux))
    out = layers.Dense(2, name="gives")(x)
    model = sparsity.apply_dtm(keras.Model([first, second], [aux, out]))
    masked = {layer.name for layer in sparsity.masked_layers(model)}
    assert masked == {"inside", "behind"}


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


@pytest.mark.long
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


@pytest.mark.long
def test_masks_survive_saving(model, data, tmp_path):
    pruned, _ = trained(model, data)
    pruned.save(tmp_path / "pruned.keras")
    loaded = keras.saving.load_model(tmp_path / "pruned.keras")
    for a, b in zip(pruned.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(as_numpy(a), as_numpy(b))
    np.testing.assert_array_equal(
        as_numpy(loaded(data[0])), as_numpy(pruned(data[0]))
    )


@pytest.mark.long
def test_every_kind_of_kernel_is_masked():
    layers = keras.layers
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, name="first")(inputs)
    x = layers.Conv2D(4, 3, name="conv")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.Conv2DTranspose(4, 3, name="transpose")(x)
    x = layers.Reshape((-1, 4))(x)
    x = layers.Conv1D(4, 3, name="sequence")(x)
    x = layers.EinsumDense("abc,cd->abd", (None, 4), name="einsum")(x)
    x = layers.Dense(4, name="dense")(x)
    x = layers.GlobalAveragePooling1D()(x)
    model = compiled(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    pruned = compiled(sparsity.apply_dtm(model))
    assert [x.name for x in sparsity.masked_layers(pruned)] == [
        *("conv", "depthwise", "transpose", "sequence", "einsum", "dense")
    ]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 8, 8, 2)), rng.integers(0, 2, 16)
    schedule = sparsity.DTMSchedule(0.5, budget="uniform")
    pruned.fit(x, y, verbose=0, callbacks=[schedule])
    gone, sizes = zeros(pruned).T
    np.testing.assert_array_equal(gone, sizes // 2)
    np.testing.assert_allclose(
        as_numpy(sparsity.strip(pruned)(x)), as_numpy(pruned(x)), atol=1e-6
    )


@pytest.mark.slow
def test_penalty_raises_thresholds_and_prunes_expensive_layers_first(data):
    layers = keras.layers
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, padding="same", name="first")(inputs)
    x = layers.Conv2D(8, 3, padding="same", name="expensive")(x)
    x = layers.MaxPooling2D(4)(x)
    x = layers.Conv2D(8, 3, padding="same", name="cheap")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(4)(x))

    def pruned(penalty, cost="parameters"):
        keras.utils.set_random_seed(0)
        masked = sparsity.apply_dtm(
            model, penalty=penalty, cost=cost, threshold=0.0
        )
        # Plain steps: the size of the gradient is what counts here.
        masked.compile(keras.optimizers.SGD(6e-5), "mse")
        schedule = sparsity.DTMSchedule(None, temperatures=(5, 50))
        target = np.zeros((32, 4))
        masked.fit(data[0], target, epochs=40, verbose=0, callbacks=[schedule])
        gone, sizes = zeros(masked).T
        return dict(zip(("expensive", "cheap"), gone / sizes, strict=True))

    without, equal = pruned(0.0), pruned(10.0)
    costly = pruned(10.0, "multiply_adds")
    assert sum(equal.values()) > sum(without.values()) + 0.2
    assert costly["expensive"] > costly["cheap"] + 0.1
    assert abs(equal["expensive"] - equal["cheap"]) < 0.1


def test_penalty_is_the_expected_share_of_the_cost(model, data):
    pruned = sparsity.apply_dtm(model, penalty=3.0, threshold=-100.0)
    pruned(data[0], training=True)
    np.testing.assert_allclose(sum(map(float, pruned.losses)), 3.0, rtol=1e-5)


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
    for name in ("granularity", "cost"):
        with pytest.raises(ValueError, match=f"`{name}` must be one of"):
            sparsity.apply_dtm(model, **{name: "row"})


@pytest.mark.long
def test_masked_model_is_not_masked_again(model, data):
    pruned, _ = trained(model, data)
    with pytest.raises(ValueError, match="without a mask already"):
        sparsity.apply_dtm(pruned)
    again = compiled(sparsity.apply_dtm(sparsity.fix_masks(pruned)))
    again.fit(*data, verbose=0, callbacks=[sparsity.DTMSchedule(0.8)])
    for before, after in zip(
        sparsity.masked_layers(pruned),
        sparsity.masked_layers(again),
        strict=True,
    ):
        assert (sparsity.hard_mask(after) <= sparsity.hard_mask(before)).all()


def test_what_a_layer_has_adapted_to_is_kept():
    layers = keras.layers
    normalization = layers.Normalization()
    normalization.adapt(np.array([[3.0, 5.0], [4.0, 9.0]]))
    inputs = keras.Input((2,))
    x = layers.Dense(4, activation="relu")(normalization(inputs))
    x = layers.Dense(4)(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    x = np.array([[1.0, 2.0]])
    for new in (
        sparsity.apply_dtm(model),
        sparsity.strip(model),
        sparsity.shrink(model),
    ):
        np.testing.assert_array_equal(as_numpy(new(x)), as_numpy(model(x)))


def test_no_model_and_no_list_are_refused(model):
    with pytest.raises(ValueError, match="Expected a Keras model"):
        sparsity.shrink("model.keras")
    with pytest.raises(ValueError, match="`skip` must be a list"):
        sparsity.apply_dtm(model, skip="scale0_dense")
    with pytest.raises(ValueError, match="`penalty` must not be negative"):
        sparsity.apply_dtm(model, penalty=-1.0)
    with pytest.raises(ValueError, match="`cost` must be one of"):
        sparsity.apply_dtm(model, penalty=1.0, cost="latency")


def test_model_without_anything_to_prune_is_refused():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(2, name="dense")]
    )
    with pytest.raises(ValueError, match=r"apply_dtm\(.*, protect_ends=False"):
        sparsity.apply_dtm(model)
    with pytest.raises(ValueError, match="nothing to prune") as error:
        sparsity.apply_dtm(model, skip=["dense"], protect_ends=False)
    assert "protect_ends" not in str(error.value)
