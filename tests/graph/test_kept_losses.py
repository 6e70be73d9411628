"""What layers add to the loss is there after each rewriting of a model."""

import keras
import numpy as np
import pytest
from keras import layers

import kbp
from kbp import sparsity
from kbp.quantization import quantize_aware

REGULARIZED = {
    f"{name}_regularizer": keras.regularizers.L1L2(0.01 * k, 0.02 * k)
    for k, name in enumerate(("kernel", "bias", "activity"), 1)
}


@kbp.graph.register_layer_traits(kbp.graph.traits_of_class(layers.Dense))
@keras.saving.register_keras_serializable(package="tests")
class Talkative(layers.Dense):
    """A Dense layer that adds to the loss in its `call`."""

    def call(self, inputs, training=None):
        outputs = super().call(inputs, training=training)
        self.add_loss(0.1 * keras.ops.mean(keras.ops.square(outputs)))
        return outputs


def _regularized(kind, *args, **options):
    chosen = {**REGULARIZED}
    if kind in (layers.DepthwiseConv2D, layers.SeparableConv2D):
        del chosen["kernel_regularizer"]
        chosen["depthwise_regularizer"] = REGULARIZED["kernel_regularizer"]
    return kind(*args, **chosen, **options)


def _image(layer, *more):
    middle = [layer, *more]
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(8, 1),
            *middle,
            layers.Flatten(),
            layers.Dense(2),
        ]
    )


def _table(layer, *more):
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(8),
            layer,
            *more,
            layers.Dense(2),
        ]
    )


def _attention():
    inputs = keras.Input((4, 8))
    attention = _regularized(layers.MultiHeadAttention, 2, 4)
    x = attention(inputs, inputs)
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))


def _embedding():
    return keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            layers.Embedding(
                7,
                8,
                embeddings_regularizer="l2",
                activity_regularizer=REGULARIZED["activity_regularizer"],
            ),
            layers.Flatten(),
            layers.Dense(8, activation="relu", activity_regularizer="l1"),
            layers.Dense(2),
        ]
    )


NETWORKS = {
    "dense": lambda: _table(_regularized(layers.Dense, 8)),
    "dense, relu": lambda: _table(
        _regularized(layers.Dense, 8, activation="relu")
    ),
    "dense, silu": lambda: _table(
        _regularized(layers.Dense, 8, activation="silu")
    ),
    "dense, hard sigmoid": lambda: _table(
        _regularized(layers.Dense, 8, activation="hard_sigmoid")
    ),
    "dense, normalized": lambda: _table(
        _regularized(layers.Dense, 8),
        layers.BatchNormalization(activity_regularizer="l2"),
        layers.ReLU(),
    ),
    "dense folded": lambda: _table(
        layers.Dense(8, kernel_regularizer="l2", bias_regularizer="l1"),
        layers.BatchNormalization(),
        layers.ReLU(activity_regularizer="l2"),
    ),
    "dense of one's own": lambda: _table(Talkative(8)),
    "convolution": lambda: _image(
        _regularized(layers.Conv2D, 8, 3, activation="relu")
    ),
    "convolution, normalized": lambda: _image(
        _regularized(layers.Conv2D, 8, 3),
        layers.BatchNormalization(beta_regularizer="l2"),
        layers.ReLU(),
    ),
    "depthwise": lambda: _image(
        _regularized(layers.DepthwiseConv2D, 3, activation="relu"),
        layers.Conv2D(8, 1, activation="relu", activity_regularizer="l1"),
    ),
    "separable": lambda: _image(
        _regularized(layers.SeparableConv2D, 8, 3, activation="relu"),
        layers.Conv2D(8, 1),
    ),
    "prelu": lambda: _table(
        layers.PReLU(alpha_regularizer="l2", activity_regularizer="l2"),
        layers.Dense(8),
    ),
    "activity": lambda: _image(
        layers.Conv2D(8, 1),
        layers.ReLU(),
        layers.ActivityRegularization(0.01, 0.02),
        layers.Conv2D(8, 1),
    ),
    "embedding": _embedding,
    "attention": _attention,
}
WAYS = {
    "masked": lambda model, x: sparsity.apply_dtm(model, protect_ends=False),
    "channels": lambda model, x: sparsity.apply_dtm(
        model, granularity="channel", protect_ends=False
    ),
    "stripped": lambda model, x: sparsity.strip(
        sparsity.apply_dtm(model, granularity="channel", protect_ends=False)
    ),
    "quantized": lambda model, x: quantize_aware(model, x),
}
OWN = "adds to the loss in its `call`"
REFUSED = {
    ("dense of one's own", "channels"): OWN,
    ("dense of one's own", "stripped"): OWN,
    ("attention", "channels"): "nothing to prune",
    ("attention", "stripped"): "nothing to prune",
}


def made(name):
    """Return a network with biases that are not zero, and its examples."""
    keras.utils.set_random_seed(0)
    model = NETWORKS[name]()
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        noise = random.normal(0, 0.1, variable.shape)
        variable.assign(variable + noise.astype("float32"))
    shape = (16, *model.input_shape[1:])
    if model.inputs[0].dtype == "int32":
        return model, random.integers(0, 7, shape)
    return model, random.normal(size=shape).astype("float32")


def losses(model, x):
    model(x, training=False)
    return float(sum(keras.ops.convert_to_numpy(y) for y in model.losses))


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NETWORKS)
def test_what_layers_add_to_the_loss_is_kept(name, way):
    model, x = made(name)
    expected = losses(model, x)
    assert expected > 0
    if reason := REFUSED.get((name, way)):
        with pytest.raises(ValueError, match=reason):
            WAYS[way](model, x)
        return
    new = WAYS[way](model, x)
    # Eight bits move the activities of a tiny network by a few hundredths.
    tolerance = 0.04 if way == "quantized" else 1e-4
    assert losses(new, x) == pytest.approx(expected, rel=tolerance)
