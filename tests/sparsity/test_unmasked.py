"""Layers that channel masks leave out are named with the reason."""

import keras
import numpy as np
from keras import layers

from kbp import sparsity
from kbp.sparsity.unmasked import in_words


def residual():
    inputs = keras.Input((8, 4))
    x = layers.Conv1D(6, 3, padding="same", name="stem")(inputs)
    y = layers.Conv1D(5, 3, padding="same", name="inner")(x)
    y = layers.Conv1D(6, 3, padding="same", name="back")(y)
    x = layers.Add()([x, y])
    x = layers.Conv1D(7, 3, activation="sigmoid", name="gated")(x)
    x = layers.Conv1D(8, 3, name="free")(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(x))


def test_every_layer_without_a_mask_has_its_reason():
    model = residual()
    found = sparsity.left_out(model)
    assert found == {
        "stem": "first or last layer",
        "back": "added to, or joined with, channels of such a layer",
        "gated": "its sigmoid makes no zeros",
        "head": "first or last layer",
    }
    masked = sparsity.apply_dtm(model, granularity="channel")
    gates = {x.name for x in sparsity.masked_layers(masked)}
    assert gates == {"inner_gate", "free_gate"}
    assert sparsity.left_out(model, skip=["free"])["free"] == "named in `skip`"
    assert "stem" not in sparsity.left_out(model, protect_ends=False)


def test_reasons_are_one_sentence():
    assert in_words({}) == ""
    assert in_words({"a": "first", "b": "second", "c": "first"}) == (
        "These layers keep all their channels: a, c (first); b (second)."
    )
    many = dict.fromkeys("abcdef", "first")
    assert "a, b, c, d and 2 more (first)" in in_words(many)
    many = {f"layer_{n}": f"reason {n}" for n in range(7)}
    assert in_words(many).endswith(
        "layer_3 (reason 3); and 3 more for reasons of their own."
    )


def test_the_layer_that_needs_the_channels_is_named():
    inputs = keras.Input((8, 4))
    x = layers.Conv1D(6, 3, name="normalized")(inputs)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.Conv1D(6, 3, name="shifted")(x)
    x = layers.Conv1D(6, 3, name="read")(x + 1.0)
    x = layers.LSTM(5, name="lstm", return_sequences=True)(x)
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    assert sparsity.left_out(model, protect_ends=False) == {
        "normalized": "norm needs all of its channels",
        "shifted": "read gets no zeros, whatever is masked",
        "lstm": "masks of channels do not cover LSTM",
        "head": "the model gives them",
    }
    assert sparsity.left_out(model, granularity="element") == {
        "normalized": "first or last layer",
        "lstm": "masks of weights do not cover LSTM",
        "head": "first or last layer",
    }


def test_masks_that_stand_say_what_they_leave_out():
    model = residual()
    for granularity in ("element", "channel"):
        expected = sparsity.left_out(
            model, granularity=granularity, skip=["free"]
        )
        masked = sparsity.apply_dtm(
            model, granularity=granularity, skip=["free"]
        )
        found = sparsity.left_out(masked, granularity=granularity)
        assert found == expected


def test_channels_are_counted_before_and_after():
    model = residual()
    assert sparsity.channel_count(model) == 6 + 5 + 6 + 7 + 8 + 2
    layer = model.get_layer("inner")
    kernel, bias = layer.get_weights()
    kept = np.arange(5) < 2
    layer.set_weights([kernel * kept, bias * kept])
    small = sparsity.shrink(model)
    assert sparsity.channel_count(small) == 6 + 2 + 6 + 7 + 8 + 2
    masked = sparsity.apply_dtm(model, granularity="channel")
    assert sparsity.channel_count(masked) == sparsity.channel_count(model)


def test_masks_of_weights_leave_out_the_ends_and_what_is_skipped():
    model = residual()
    found = sparsity.left_out(model, granularity="element", skip=["free"])
    assert found == {
        "stem": "first or last layer",
        "free": "named in `skip`",
        "head": "first or last layer",
    }
    masked = sparsity.apply_dtm(model, skip=["free"])
    gates = {x.name for x in sparsity.masked_layers(masked)}
    assert gates == {"inner", "back", "gated"}
    assert in_words({"a": "first"}, "weights") == (
        "These layers keep all their weights: a (first)."
    )
