"""Masks on several kernels of a layer, and masks beside other transforms."""

import io

import keras
import numpy as np
import pytest
from contracts import as_numpy
from keras import layers
from rich.console import Console

from kbp import graph, sparsity
from kbp.layers import DTM, FixedMask, KernelTransform, TransformedLayer
from kbp.quantization import quantize_aware

KERNELS = ("depthwise_kernel", "pointwise_kernel")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 8, 3)).astype("float32")


@keras.saving.register_keras_serializable(package="test_wrappers")
class Factor(KernelTransform):
    """A person's own transform, with a weight."""

    def build(self, kernel_shape):
        self.factor = self.add_weight(
            shape=(), initializer="ones", trainable=False
        )

    def call(self, kernel, training=False):
        return kernel * self.factor


def two_masks():
    """A layer with a mask on each kernel, one beside another transform."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 3))
    layer = layers.SeparableConv1D(4, 3, name="inside")
    for kernel, others in zip(KERNELS, ([], [Factor()]), strict=True):
        transforms = [DTM(threshold=0.3), *others]
        layer = TransformedLayer(layer, transforms, kernel=kernel, name="both")
    model = keras.Model(inputs, layers.Dense(2)(layer(inputs)))
    layer.transforms[1].factor.assign(3.0)
    return model


def zeros(layer):
    """The places of zeros in each kernel that the layer computes with."""
    return {
        wrapper.kernel_attribute: sparsity.hard_mask(wrapper) == 0
        for wrapper in graph.wrappers(layer)
    }


def test_each_masked_kernel_is_yielded_and_counted():
    model = two_masks()
    masked = [*sparsity.masked_layers(model)]
    assert [x.kernel_attribute for x in masked] == [*KERNELS]
    rows = sparsity.summary(model, console=Console(file=io.StringIO()))
    assert [row.shape for row in rows] == [(3, 3, 1), (1, 3, 4)]
    assert all(0 < row.sparsity < 1 for row in rows)
    (node, _) = graph.nodes(graph.flatten(model))
    cost = sum(row.multiply_adds for row in rows)
    assert cost == sparsity.multiply_adds(node)
    shares = [row.sparsity for row in rows]
    count = 9 * shares[0] + 12 * shares[1]
    assert sparsity.kernel_sparsity(model) == pytest.approx(count / (21 + 8))


@pytest.mark.parametrize("change", [sparsity.strip, sparsity.fix_masks])
def test_all_masks_of_a_layer_are_decided(change):
    model = two_masks()
    changed = change(model)
    np.testing.assert_allclose(changed(X), model(X), rtol=1e-6, atol=1e-6)
    kinds = [
        type(t) for layer in changed.layers for t in graph.transforms(layer)
    ]
    fixed = change is sparsity.fix_masks
    assert kinds == ([FixedMask, FixedMask, Factor] if fixed else [Factor])
    wanted = zeros(model.layers[1])
    inside = graph.unwrapped(changed.layers[1])
    for name, places in wanted.items():
        assert not as_numpy(getattr(inside, name))[places].any()
    if fixed:
        changed.compile(keras.optimizers.SGD(0.1), "mse")
        changed.fit(X, np.ones((6, 6, 2)), epochs=2, verbose=0)
        for name, places in zeros(changed.layers[1]).items():
            np.testing.assert_array_equal(places, wanted[name])


def test_schedule_drives_all_masks_of_a_layer():
    model = two_masks()
    model.compile("sgd", "mse")
    schedule = sparsity.DTMSchedule(0.5)
    model.fit(X, np.ones((6, 6, 2)), epochs=3, verbose=0, callbacks=[schedule])
    masks = [sparsity.hard_mask(x) for x in sparsity.masked_layers(model)]
    kept = sum(mask.sum() for mask in masks) / sum(mask.size for mask in masks)
    assert kept == pytest.approx(0.5, abs=0.06)


def test_wrapper_of_another_name_gets_no_second_mask():
    inputs = keras.Input((4,))
    masked = TransformedLayer(
        layers.Dense(4, name="inside"), [DTM()], name="outside"
    )
    x = layers.Dense(4, name="free")(masked(inputs))
    model = sparsity.apply_dtm(
        keras.Model(inputs, x), protect_ends=False, score="signed"
    )
    kinds = {
        layer.name: [type(t) for t in graph.transforms(layer)]
        for layer in model.layers[1:]
    }
    assert kinds == {"outside": [DTM], "free": [DTM]}


def test_new_mask_stands_at_its_kernel_and_the_rest_stays():
    inputs = keras.Input((8, 3))
    layer = layers.EinsumDense("abc,cd->abd", (8, 4), bias_axes="d")
    for kernel in ("kernel", "bias"):
        layer = TransformedLayer(layer, [Factor()], kernel=kernel)
    model = keras.Model(inputs, layer(inputs))
    for factor in graph.transforms(layer):
        factor.factor.assign(3.0)
    graph.unwrapped(layer).bias.assign(np.arange(4.0))
    masked = sparsity.apply_dtm(model, protect_ends=False)
    np.testing.assert_allclose(masked(X), model(X), rtol=1e-6)
    found = {
        x.kernel_attribute: [type(t) for t in x.transforms]
        for x in graph.wrappers(masked.layers[-1])
    }
    assert found == {"kernel": [DTM, Factor], "bias": [Factor]}


@pytest.mark.parametrize(
    "change",
    [
        sparsity.strip,
        sparsity.fix_masks,
        sparsity.shrink,
        sparsity.apply_dtm,
        lambda q: sparsity.apply_dtm(q, granularity="channel"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"round_biases": False}])
@pytest.mark.parametrize("masked", [True, False])
def test_model_that_is_rounded_keeps_its_masks(change, options, masked):
    layer_sizes = [keras.Input((4,), name="x"), *map(layers.Dense, (8, 8, 2))]
    model = keras.Sequential(layer_sizes)
    if masked:
        model = sparsity.apply_dtm(model)
    quantized = quantize_aware(model, RNG.normal(size=(9, 4)), **options)
    with pytest.raises(ValueError, match="is quantization-aware, and keeps"):
        change(quantized)
