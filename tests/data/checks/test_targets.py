"""Targets that one of Keras's losses cannot take are named at once."""

import keras
import numpy as np
import pytest

from kbp._utils.examples import Batch
from kbp.data.checks.targets import check_targets
from kbp.errors import UserError

SPARSE = "sparse_categorical_crossentropy"
SIX = np.arange(6)


def model(*shape):
    inputs = keras.Input((4,))
    count = int(np.prod(shape))
    outputs = keras.layers.Dense(count, name="only")(inputs)
    if len(shape) > 1:
        outputs = keras.layers.Reshape(shape)(outputs)
    return keras.Model(inputs, outputs)


def check(targets, loss, made):
    batch = Batch((np.zeros((len(SIX), 4)),), targets)
    check_targets(batch, made, loss, "The data")


@pytest.mark.parametrize(
    ("shape", "loss", "targets", "message"),
    [
        ((6,), SPARSE, np.eye(6), r"shape \(6, 6\).*give class numbers"),
        ((6,), SPARSE, SIX + 1, "6 in example 5, and such in 1 of 6.*y - 1"),
        ((6,), SPARSE, SIX - 1, "-1 in example 0.*from 0 to 5"),
        ((6,), SPARSE, SIX / 2, "0.5 in example 1"),
        ((4,), SPARSE, SIX, "4 in example 4.*more outputs"),
        ((1,), SPARSE, SIX % 2, "compile with binary_crossentropy"),
        ((2, 3), SPARSE, SIX, r"give class numbers, of shape \(batch, 2\)"),
        ((6,), "categorical_crossentropy", SIX, "to_categorical.y, 6"),
        ((6,), "binary_crossentropy", SIX, "or compile with sparse_categ"),
        ((1,), "binary_crossentropy", SIX, "2 in example 2.*from 0 to 1"),
        ((1,), keras.losses.BinaryCrossentropy(), SIX - 1, "-1 in example 0"),
        ((6,), "mse", SIX, r"give targets of shape \(batch, 6\)"),
        ((1,), keras.losses.Huber(), np.eye(6), r"of shape \(batch, 1\)"),
        ((6,), SPARSE, {"other": SIX}, "targets for other; .* are only"),
    ],
)
def test_what_a_loss_cannot_take_is_named(shape, loss, targets, message):
    with pytest.raises(UserError, match=message):
        check(targets, loss, model(*shape))


@pytest.mark.parametrize(
    ("shape", "loss", "targets"),
    [
        ((6,), SPARSE, SIX),
        ((6,), SPARSE, SIX[:, None].astype("float32")),
        ((6,), keras.losses.SparseCategoricalCrossentropy(), SIX > 2),
        (
            (6,),
            keras.losses.SparseCategoricalCrossentropy(ignore_class=255),
            np.where(SIX == 2, 255, SIX),
        ),
        ((2, 3), SPARSE, np.ones((6, 2), "uint8")),
        ((2, 3), SPARSE, np.ones((6, 2, 1))),
        ((6,), "categorical_crossentropy", np.eye(6)),
        ((1,), "binary_crossentropy", SIX % 2),
        ((1,), "mse", SIX - 100.0),
        ((2, 1), "mse", np.ones((6, 2))),
        ((6,), lambda y_true, y_pred: 0.0, np.ones((6, 3, 2))),
        ((6,), keras.losses.CTC(), np.ones((6, 3))),
        ((6,), {"only": SPARSE}, {"only": SIX}),
    ],
)
def test_what_a_loss_can_take_passes(shape, loss, targets):
    check(targets, loss, model(*shape))


def test_the_output_among_several_is_named():
    inputs = keras.Input((4,))
    made = keras.Model(
        inputs,
        {
            "digit": keras.layers.Dense(6, name="d")(inputs),
            "odd": keras.layers.Dense(1, name="o")(inputs),
        },
    )
    losses = {"odd": "binary_crossentropy", "digit": SPARSE}
    right = {"digit": SIX, "odd": SIX[:, None] % 2}
    check(right, losses, made)
    with pytest.raises(UserError, match="targets for output 'odd' that"):
        check({**right, "odd": SIX}, losses, made)
