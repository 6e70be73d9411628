"""Dice and IoU."""

import keras
import numpy as np
import pytest

from kbp.metrics import Dice, IoU

RNG = np.random.default_rng(0)
TRUE = RNG.integers(0, 3, (6, 4, 5))
FOUND = np.where(
    RNG.random((6, 4, 5)) < 0.6, TRUE, RNG.integers(0, 3, (6, 4, 5))
)
TRUE[0], FOUND[0] = 0, 0  # nothing there, nothing found
TRUE[1] = 0  # nothing there


def coefficient(kind, true, found):
    both = np.sum(true & found)
    if kind is Dice:
        return 2 * both / (true.sum() + found.sum())
    return both / np.sum(true | found)


@pytest.mark.parametrize("kind", [Dice, IoU])
@pytest.mark.parametrize("target_class_ids", [None, [2], [0, 1]])
def test_values_are_the_definitions(kind, target_class_ids):
    ids = target_class_ids or [1, 2]
    for per_image in (True, False):
        metric = kind(3, per_image=per_image, target_class_ids=target_class_ids)
        metric.update_state(TRUE[:4], FOUND[:4])
        metric.update_state(TRUE[4:], 9.0 * np.eye(3)[FOUND[4:]])  # logits
        expected = []
        for i in ids:
            true, found = i == TRUE, i == FOUND
            if per_image:
                expected.append(
                    np.mean(
                        [
                            coefficient(kind, t, f)
                            for t, f in zip(true, found, strict=True)
                            if (t | f).any()
                        ]
                    )
                )
            else:
                expected.append(coefficient(kind, true, found))
        np.testing.assert_allclose(metric.per_class(), expected, rtol=1e-5)
        np.testing.assert_allclose(
            metric.result(), np.mean(expected), rtol=1e-5
        )


def test_pooled_iou_is_kerass():
    theirs = keras.metrics.IoU(3, target_class_ids=[1, 2])
    ours = IoU(3, per_image=False)
    for metric in (theirs, ours):
        metric.update_state(TRUE, FOUND)
    np.testing.assert_allclose(ours.result(), theirs.result(), rtol=1e-6)


def test_a_class_that_is_nowhere_does_not_count():
    for per_image in (True, False):
        metric = Dice(4, per_image=per_image)
        metric.update_state(TRUE, FOUND)
        three = Dice(3, per_image=per_image)
        three.update_state(TRUE, FOUND)
        np.testing.assert_allclose(metric.result(), three.result())
        assert np.isnan(metric.per_class()[2])


@pytest.mark.parametrize("per_image", [True, False])
def test_weights_and_other_layouts_of_masks(per_image):
    twice, weighted, others = (Dice(3, per_image=per_image) for _ in range(3))
    order = [0, 0, 1]
    twice.update_state(TRUE[order], FOUND[order])
    weights = np.zeros(len(TRUE))
    weights[:2] = 2, 1
    weighted.update_state(TRUE, FOUND, sample_weight=weights)
    np.testing.assert_allclose(weighted.result(), twice.result(), rtol=1e-6)
    others.update_state(np.eye(3)[TRUE[order]], FOUND[order][..., None])
    np.testing.assert_allclose(others.result(), twice.result(), rtol=1e-6)


def test_masks_of_other_sizes_are_refused():
    for true in (TRUE[:, :2], TRUE[0], TRUE[:, :, 0]):
        with pytest.raises(ValueError, match="masks of one size"):
            Dice(3).update_state(true, FOUND)


@pytest.mark.parametrize("shape", [(1, 6, 7), (1, 6), (2,), (6, 1)])
def test_weights_that_are_not_of_images_are_refused(shape):
    with pytest.raises(ValueError, match="a weight for each image"):
        Dice(3).update_state(TRUE[:1], FOUND[:1], np.ones(shape))


def test_arrays_are_taken_as_lists_are():
    config = Dice(4, target_class_ids=np.array([1, 3])).get_config()
    assert config["target_class_ids"] == [1, 3]


def test_metrics_are_reset_and_made_again():
    metric = Dice(3, per_image=False, target_class_ids=[2])
    metric.update_state(TRUE, FOUND)
    copy = Dice.from_config(metric.get_config())
    copy.update_state(TRUE, FOUND)
    assert copy.result() == metric.result()
    metric.reset_state()
    metric.update_state(TRUE, TRUE)
    assert metric.result() == 1
    assert [Dice(2).name, IoU(2).name] == ["dice", "iou"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, "`num_classes` must be"),
        (
            {"num_classes": 2, "target_class_ids": [2]},
            "`target_class_ids` must hold",
        ),
        (
            {"num_classes": 2, "target_class_ids": []},
            "`target_class_ids` must hold",
        ),
    ],
)
def test_wrong_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        Dice(**options)
