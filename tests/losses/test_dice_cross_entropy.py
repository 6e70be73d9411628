"""Cross-entropy and Dice together."""

import keras
import numpy as np
import pytest
from contracts import as_numpy

from kbp.losses import DiceCrossEntropy

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(3, 4, 5, 3))
MASKS = RNG.integers(0, 3, (3, 4, 5))
OPTIONS = [
    {},
    {"dice_weight": 0.0},
    {"cross_entropy_weight": 0.0, "smooth": 0.5},
    {"focal_gamma": 2.0, "class_weights": [1, 2, 5]},
    {"alpha": 0.3, "beta": 0.7, "dice_weight": 2.0},
    {"per_image": True, "class_weights": [1, 2, 5]},
]


def reference(
    y,
    logits,
    dice_weight=1.0,
    cross_entropy_weight=1.0,
    focal_gamma=0.0,
    alpha=0.5,
    beta=0.5,
    class_weights=(1, 1, 1),
    smooth=1.0,
    per_image=False,
):
    """Float64, from the formula."""
    if per_image:
        options = locals() | {"per_image": False}
        pairs = zip(options.pop("y"), options.pop("logits"), strict=True)
        return np.mean([reference(*pair, **options) for pair in pairs])
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    terms = np.array(class_weights) * y * (1 - p) ** focal_gamma * -np.log(p)
    overlaps = []
    for c in (1, 2):
        right = (p[..., c] * y[..., c]).sum()
        extra = (p[..., c] * (1 - y[..., c])).sum()
        missing = ((1 - p[..., c]) * y[..., c]).sum()
        overlaps.append(
            (right + smooth) / (right + alpha * extra + beta * missing + smooth)
        )
    entropy = terms.sum(axis=-1).mean()
    return cross_entropy_weight * entropy + dice_weight * (
        1 - np.mean(overlaps)
    )


@pytest.mark.parametrize("options", OPTIONS)
def test_value_is_the_formulas(options):
    soft = np.eye(3)[MASKS] * 0.8 + 0.2 / 3
    loss = DiceCrossEntropy(**options, dtype="float64")
    for labels, y in ((MASKS, np.eye(3)[MASKS]), (soft, soft)):
        np.testing.assert_allclose(
            loss(labels, LOGITS), reference(y, LOGITS, **options), rtol=1e-6
        )


def test_special_cases_are_kerass():
    only = {"smooth": 0.0, "dtype": "float64"}
    probabilities = as_numpy(keras.ops.softmax(LOGITS))
    for ours, theirs in (
        (
            DiceCrossEntropy(dice_weight=0.0, **only),
            keras.losses.CategoricalCrossentropy(),
        ),
        (
            DiceCrossEntropy(dice_weight=0.0, focal_gamma=2.0, **only),
            keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=2.0),
        ),
    ):
        expected = theirs(np.eye(3)[MASKS], probabilities)
        np.testing.assert_allclose(ours(MASKS, LOGITS), expected, rtol=1e-5)
    dice = keras.losses.Dice(axis=(0, 1, 2), reduction="none")
    expected = np.mean(as_numpy(dice(np.eye(3)[MASKS], probabilities))[1:])
    found = DiceCrossEntropy(cross_entropy_weight=0.0, **only)(MASKS, LOGITS)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_model_learns_a_rare_class_and_is_saved_with_it(tmp_path):
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))
    images = RNG.random((16, 8, 8, 1), "float32")
    masks = (images[..., 0] > 0.9).astype("int32")
    loss = DiceCrossEntropy(focal_gamma=1.0, class_weights=[1, 3])
    model.compile(keras.optimizers.Adam(0.3), loss)
    history = model.fit(images, masks, epochs=30, verbose=0)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == loss.get_config()


def test_images_weigh_alone_as_they_do_together():
    loss = DiceCrossEntropy(per_image=True, dtype="float64")
    alone = [float(loss(MASKS[i : i + 1], LOGITS[i : i + 1])) for i in range(3)]
    weights = np.array([1.0, 0.0, 2.0])
    np.testing.assert_allclose(
        loss(MASKS, LOGITS, sample_weight=weights),
        np.mean(weights * alone),
        rtol=1e-6,
    )


def test_arrays_are_taken_as_lists_are():
    config = DiceCrossEntropy(class_weights=np.array([1, 3])).get_config()
    assert config["class_weights"] == [1.0, 3.0]


@pytest.mark.parametrize("masks", [MASKS, MASKS[..., None]])
def test_logits_of_one_class_are_refused(masks):
    with pytest.raises(ValueError, match="two classes or more"):
        DiceCrossEntropy()(masks, LOGITS[..., :1])


def test_masks_may_have_one_channel():
    loss = DiceCrossEntropy()
    assert loss(MASKS[..., None], LOGITS) == loss(MASKS, LOGITS)


@pytest.mark.parametrize(
    ("masks", "options", "weights", "message"),
    [
        (MASKS[:, :2], {}, None, r"shapes \(3, 2, 5, 3\) and \(3, 4, 5, 3\)"),
        (MASKS[0], {}, None, "for every pixel"),
        (np.eye(2)[MASKS % 2], {}, None, "for every pixel"),
        (MASKS, {}, np.ones(3), "with `per_image=True`"),
        (MASKS, {"per_image": True}, np.ones((3, 4, 5)), "for each image"),
    ],
)
def test_masks_and_weights_of_other_shapes_are_refused(
    masks, options, weights, message
):
    with pytest.raises(ValueError, match=message):
        DiceCrossEntropy(**options)(masks, LOGITS, weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smooth": -1.0}, "`smooth` must not be negative"),
        ({"dice_weight": float("inf")}, "`dice_weight` must not be negative"),
        ({"focal_gamma": float("nan")}, "`focal_gamma` must not be negative"),
        ({"class_weights": [1]}, "`class_weights` must hold"),
        ({"class_weights": [1, -1]}, "`class_weights` must hold"),
    ],
)
def test_wrong_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        DiceCrossEntropy(**options)
