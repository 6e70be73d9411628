"""A weight that two layers share is never made two without a word."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import kbp
from kbp import sparsity
from kbp.quantization import quantize_aware


@keras.saving.register_keras_serializable(package="tests")
class Decoder(layers.Layer):
    """Multiplies by the transposed kernel of another layer."""

    def __init__(self, encoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder

    def call(self, inputs):
        return ops.matmul(inputs, ops.transpose(self.encoder.kernel))


class Quiet(layers.Layer):
    """The same, of a weight that Keras does not track."""

    def __init__(self, holder, **kwargs):
        super().__init__(**kwargs)
        self.holder = holder

    def call(self, inputs):
        return ops.matmul(inputs, ops.transpose(self.holder["kernel"]))


class Shares(layers.Dense):
    """Has the kernel of another layer."""

    def __init__(self, other, **kwargs):
        super().__init__(8, **kwargs)
        self.kernel_of = lambda: other.kernel

    def build(self, input_shape):
        super().build(input_shape)
        self._kernel = self.kernel_of()


def _two_of_one_variable():
    inputs = keras.Input((8,))
    first = layers.Dense(8, name="encoder")
    second = Shares(first, name="decoder")
    hidden = first(layers.Dense(8)(inputs))
    outputs = layers.Dense(2)(second(hidden))
    return keras.Model(inputs, outputs)


def _own_layer(kind=Decoder, of=lambda layer: layer):
    inputs = keras.Input((8,))
    encoder = layers.Dense(4, name="encoder")
    hidden = encoder(layers.Dense(8)(inputs))
    x = kind(of(encoder), name="decoder")(hidden)
    return keras.Model(inputs, layers.Dense(2)(x))


def _untracked():
    return _own_layer(Quiet, lambda layer: {"kernel": layer.kernel})


def _embedding_as_output():
    inputs = keras.Input((4,), dtype="int32")
    embedding = layers.Embedding(16, 8, name="encoder")
    x = layers.Dense(8)(layers.Dense(8)(embedding(inputs)))
    logits = layers.Lambda(
        lambda x: ops.matmul(x, ops.transpose(embedding.embeddings)),
        name="decoder",
    )(x)
    return keras.Model(inputs, logits)


def _operation():
    inputs = keras.Input((8,))
    encoder = layers.Dense(8, name="encoder")
    hidden = encoder(layers.Dense(8)(inputs))
    product = ops.matmul(hidden, encoder.kernel)
    product._keras_history.operation.name = "decoder"
    return keras.Model(inputs, layers.Dense(2)(product))


TIED = {
    "two layers of one variable": _two_of_one_variable,
    "a layer that refers to another": _own_layer,
    "a layer that holds another's weight": _untracked,
    "an embedding as output": _embedding_as_output,
    "an operation on a kernel": _operation,
}
WAYS = {
    "apply_dtm": sparsity.apply_dtm,
    "strip": sparsity.strip,
    "shrink": sparsity.shrink,
    "quantize_aware": quantize_aware,
    "compress": lambda model: kbp.compress(
        model, (np.zeros((40, *model.input_shape[1:])), np.zeros(40))
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("tied", TIED)
def test_tied_weights_are_refused_by_the_layers_names(
    tied, way, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    model = TIED[tied]()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"encoder.*decoder|decoder.*encoder"):
        WAYS[way](model)
    assert not any(tmp_path.iterdir())


def test_one_layer_that_is_used_twice_is_no_tie():
    inputs = keras.Input((8,))
    twice = layers.Dense(8)
    model = keras.Model(inputs, layers.Dense(2)(twice(twice(inputs))))
    kbp.graph.check_untied(model)
    masked = sparsity.apply_dtm(model, protect_ends=False)
    assert masked.count_params() < model.count_params() + 10
