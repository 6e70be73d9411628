"""Labels and outputs that have not quite one shape, of every loss."""

import numpy as np
import pytest

from kbp import losses

RNG = np.random.default_rng(5)
# Of those that compare numbers; masks and logits have a test of their own.
LOSSES = {
    "Distillation": [
        losses.Distillation("values"),
        losses.Distillation("labels"),
    ],
    "Pinball": [losses.Pinball(0.3)],
    "ScaledError": [losses.ScaledError(2.0, x) for x in ("mse", "huber")],
}
EVERY = [
    pytest.param(loss, id=f"{name}-{number}")
    for name, made in LOSSES.items()
    for number, loss in enumerate(made)
]


def test_every_loss_is_in_the_table():
    assert {*LOSSES} == {*losses.__all__} - {"DiceCrossEntropy"}


@pytest.mark.parametrize("loss", EVERY)
@pytest.mark.parametrize("shape", [(6,), (6, 4), (6, 4, 3)])
def test_a_last_axis_of_one_may_be_left_out(loss, shape):
    labels, outputs = RNG.normal(size=(2, *shape))
    weights = RNG.random(shape)
    full = labels[..., None], outputs[..., None]
    lacking = [(labels, full[1]), (full[0], outputs)]
    if len(shape) == 1:  # one number of each example
        lacking.append((labels, outputs))
    for given in lacking:
        for weight in (None, weights):
            np.testing.assert_allclose(
                loss(*given, weight), loss(*full, weight), rtol=1e-6
            )


@pytest.mark.parametrize("loss", EVERY)
@pytest.mark.parametrize(
    "shapes",
    [
        ((6,), (6, 2)),
        ((6, 1), (6, 2)),
        ((6, 3), (6, 1)),
        ((6, 3), (1, 3)),
        ((3,), (6, 3)),
        ((6, 4, 3), (6, 3)),
        ((6,), (6, 6, 1)),
        ((), (6, 1)),
    ],
    ids=str,
)
def test_other_shapes_are_not_broadcast(loss, shapes):
    with pytest.raises(ValueError, match="must have one shape"):
        loss(*map(np.ones, shapes))
