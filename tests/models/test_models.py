"""The model families as graphs."""

import keras
import numpy as np
import pytest
from contracts import as_numpy

import kbp
from kbp import graph, layers, models

BUILDERS = {
    "pyramid": lambda: models.PyramidBPNet(
        (16, 16, 2), 5, num_scales=3, width=8, dropout=0.2
    ),
    "pyramid_two_scales": lambda: models.PyramidBPNet((8, 8, 1), 2, width=8),
    "pyramid_of_pixels": lambda: models.PyramidBPNet(
        (16, 24, 1), 3, head="segmentation", num_scales=3, width=8, dropout=0.1
    ),
    "pyramid_of_patches": lambda: models.PyramidBPNet(
        (16, 24, 1), 3, head="segmentation", size="small", width=4
    ),
    "transformer": lambda: models.BPTransformer(
        (7, 5), 3, width=8, num_heads=2, dropout=0.2
    ),
    "mlp": lambda: models.ResidualMLP(
        (6,), 3, width=8, num_layers=4, dropout=0.2
    ),
    "mlp_of_one_layer": lambda: models.ResidualMLP(
        (6,), 2, width=8, num_layers=1
    ),
    "resnet": lambda: models.ResNet(
        (16, 16, 2), 5, width=4, num_blocks=2, patch_size=2, dropout=0.2
    ),
    "unet": lambda: models.UNet((16, 24, 1), 3, width=4, num_levels=2),
    "unet_with_gates": lambda: models.UNet(
        (16, 24, 1), 3, width=4, num_levels=2, gates=True, dropout=0.1
    ),
}


@pytest.fixture(params=BUILDERS)
def model(request):
    return BUILDERS[request.param]()


def batch(model, size=4):
    rng = np.random.default_rng(0)
    return rng.random((size, *model.input_shape[1:]), "float32")


@pytest.mark.long
def test_every_weight_learns(model):
    before = [as_numpy(v) for v in model.trainable_variables]
    shape = (4, *model.output_shape[1:-1])
    labels = np.arange(np.prod(shape)).reshape(shape) % model.output_shape[-1]
    model.compile(
        keras.optimizers.SGD(0.5),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(batch(model), labels, epochs=3, verbose=0)
    for old, new in zip(before, model.trainable_variables, strict=True):
        # A convolution's bias in front of a softmax over keys has no effect.
        if "attention_key/bias" not in new.path:
            assert not np.array_equal(old, as_numpy(new)), new.path


@pytest.mark.long
def test_unrolled_model_gives_the_same_outputs(model):
    x = batch(model)
    flat = graph.flatten(model)
    assert not any(isinstance(o, layers.Composite) for o in flat.operations)
    np.testing.assert_array_equal(as_numpy(flat(x)), as_numpy(model(x)))
    assert {id(w) for w in flat.weights} == {id(w) for w in model.weights}


@pytest.mark.long
def test_saved_model_loads_bit_by_bit(model, tmp_path):
    x = batch(model)
    for m in (model, graph.flatten(model)):
        m.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(as_numpy(loaded(x)), as_numpy(model(x)))


def test_two_scales_are_the_definition():
    model = models.PyramidBPNet((8, 8, 1), 3, width=4)
    names = [layer.name for layer in model.layers]
    for name in (
        "scale0_coarse_conv",  # Conv1
        "scale0_pool",  # Pool1
        "scale0_dense",  # Dense1
        "scale0_fine_conv",  # Conv2
        "fusion",
    ):
        assert name in names
    fusion = model.get_layer("fusion")
    assert [tuple(x.shape) for x in fusion.input] == [
        (None, 8, 8, 4),
        (None, 4, 4, 8),
    ]


def test_residual_mlp_is_the_definition():
    model = models.ResidualMLP((6,), 2, width=5, num_layers=4)
    x = batch(model).astype("float64")
    weights = [as_numpy(w).astype("float64") for w in model.weights]
    pairs = list(zip(weights[::2], weights[1::2], strict=True))

    def relu(a, kernel, bias):
        return np.maximum(a @ kernel + bias, 0)

    before, a = None, relu(x, *pairs[0])
    for pair in pairs[1:-1]:
        added = relu(a, *pair) + (0 if before is None else before)
        before, a = a, added
    kernel, bias = pairs[-1]
    np.testing.assert_allclose(
        as_numpy(model(x)), a @ kernel + bias, rtol=1e-4, atol=1e-5
    )


def test_half_of_a_residual_mlps_channels_can_go():
    model = models.ResidualMLP((6,), 2, width=8, num_layers=4)
    masked = kbp.sparsity.apply_dtm(model, granularity="channel")
    assert any(True for _ in kbp.sparsity.masked_layers(masked))


def test_nested_and_sequential_models_unroll():
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.ReLU()]
    )
    functional = keras.Model(
        inner.inputs[0], inner.outputs[0], name="functional"
    )
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(2)(functional(inputs) + inner(inputs))
    model = keras.Model(inputs, outputs)
    flat = graph.flatten(model)
    x = np.random.default_rng(0).random((2, 4), "float32")
    np.testing.assert_array_equal(as_numpy(flat(x)), as_numpy(model(x)))
    assert not any(graph.is_functional(o) for o in flat.operations)
    outer = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(1)])
    flat = graph.flatten(outer)
    np.testing.assert_array_equal(as_numpy(flat(x)), as_numpy(outer(x)))


@pytest.mark.long
def test_names_of_a_loaded_model_do_not_stand_in_the_way(tmp_path):
    inputs = keras.Input((6, 4))
    x = keras.ops.reshape(inputs, (-1, 4, 6))
    x = keras.ops.transpose(x, (0, 2, 1))
    model = keras.Model(inputs, kbp.layers.SelfAttention(2)(x))
    model.save(tmp_path / "model.keras")
    keras.utils.clear_session()  # names are counted anew, as in a new process
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    flat = graph.flatten(loaded)
    data = np.random.default_rng(0).random((2, 6, 4), "float32")
    np.testing.assert_array_equal(as_numpy(flat(data)), as_numpy(model(data)))


def test_unknown_graph_is_refused():
    class Subclassed(keras.Model):
        pass

    with pytest.raises(ValueError, match="neither functional nor Sequential"):
        graph.flatten(Subclassed())
    with pytest.raises(ValueError, match="is not built"):
        graph.flatten(keras.Sequential([keras.layers.Dense(3)]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: models.PyramidBPNet((8, 8, 1), 3, num_scales=1), "num_scales"),
        (lambda: models.PyramidBPNet((9, 8, 1), 3), "input_shape"),
        (lambda: models.PyramidBPNet((8, 8), 3), "input_shape"),
        (
            lambda: models.PyramidBPNet((8, 12, 1), 3, size="small"),
            "input_shape",
        ),
        (lambda: models.PyramidBPNet((8, 8, 1), 3, size="huge"), "size"),
        (
            lambda: models.PyramidBPNet((8, 8, 1), 3, patch_size=0),
            "patch_size",
        ),
        (lambda: models.PyramidBPNet((None, 8, 1), 3), "input_shape"),
        (lambda: models.PyramidBPNet((8, 8, 1), 1), "num_classes"),
        (lambda: models.PyramidBPNet((8, 8, 1), 3, width=0), "width"),
        (
            lambda: models.PyramidBPNet((8, 8, 1), 3, num_blocks=-1),
            "num_blocks",
        ),
        (lambda: models.PyramidBPNet((8, 8, 1), 3, dropout=1.0), "dropout"),
        (lambda: models.BPTransformer((None, 8), 3), "input_shape"),
        (lambda: models.BPTransformer((8, 8), 1), "num_outputs"),
        (lambda: models.BPTransformer((8, 8), 3, num_layers=0), "num_layers"),
        (lambda: models.BPTransformer((8, 8), 3, num_heads=0), "num_heads"),
        (lambda: models.BPTransformer((8, 8), 3, width=6), "width"),
        (lambda: models.BPTransformer((8, 8), 3, dropout=-1.0), "dropout"),
        (lambda: models.BPTransformer((8, 8), 3, patch_size=3), "patch_size"),
        (lambda: models.BPTransformer((8, 8), 3, head="both"), "head"),
        (lambda: models.ResidualMLP((8, 8), 3), "input_shape"),
        (lambda: models.ResidualMLP((None,), 3), "input_shape"),
        (lambda: models.ResidualMLP((8,), 0), "num_outputs"),
        (lambda: models.ResidualMLP((8,), 3, width=0), "width"),
        (lambda: models.ResidualMLP((8,), 3, num_layers=0), "num_layers"),
        (lambda: models.ResidualMLP((8,), 3, dropout=1.0), "dropout"),
    ],
)
def test_wrong_argument_is_named(build, message):
    with pytest.raises(ValueError, match=f"Argument `{message}`.*Received"):
        build()
