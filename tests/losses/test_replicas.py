"""Every loss under several replicas, whose gradients are summed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kbp import losses

RNG = np.random.default_rng(3)
LOGITS = RNG.normal(size=(8, 5)).astype("float32")
CLASSES = RNG.integers(0, 5, 8)
VALUES = RNG.normal(size=(8, 5)).astype("float32")
LOSSES = {
    "DiceCrossEntropy": [
        (losses.DiceCrossEntropy(**options), CLASSES, LOGITS)
        for options in (
            {"dice_weight": 0.0, "label_smoothing": 0.1},
            {"dice_weight": 1.0},
            {"dice_weight": 1.0, "cross_entropy_weight": 0.0},
            {"dice_weight": 0.0, "focal_gamma": 2.0, "divergence": True},
        )
    ],
    "Distillation": [(losses.Distillation(), VALUES, LOGITS)],
    "Pinball": [(losses.Pinball(0.3), VALUES, LOGITS)],
    "ScaledError": [
        (losses.ScaledError(2.0, error), VALUES, LOGITS)
        for error in ("mse", "mae", "huber")
    ],
}


def test_every_loss_is_in_the_table():
    assert {*LOSSES} == {*losses.__all__}


@pytest.mark.parametrize(
    ("loss", "labels", "outputs"),
    [
        pytest.param(*case, id=f"{name}-{number}")
        for name, cases in LOSSES.items()
        for number, case in enumerate(cases)
    ],
)
def test_sum_over_replicas_is_the_mean_of_their_losses(loss, labels, outputs):
    parts = [slice(0, 4), slice(4, 8)]
    alone = [float(loss(labels[part], outputs[part])) for part in parts]
    assert min(alone) > 0
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    def values(context):
        part = parts[context.replica_id_in_sync_group]
        return tf.constant(labels[part]), tf.constant(outputs[part])

    given = strategy.experimental_distribute_values_from_function(values)
    with strategy.scope():
        found = strategy.reduce("SUM", strategy.run(loss, given), axis=None)
    assert float(found) == pytest.approx(np.mean(alone), rel=1e-5)
    assert keras.ops.shape(found) == ()
