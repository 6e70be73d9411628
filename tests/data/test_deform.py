"""Changes that masks follow."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from kbp import data

RNG = np.random.default_rng(0)
ALL = {
    "flip": True,
    "rotation": 20.0,
    "zoom": 0.2,
    "elastic": 2.0,
    "intensity": 0.2,
}


def deformed(images, masks, seed=(0, 0), **options):
    augment = data.deform(**options)
    found = augment(images, masks, tf.constant(seed, tf.int64))
    return [x.numpy() for x in found]


def pairs(size=(12, 12), count=64, channels=2):
    images = RNG.random((count, *size, channels), "float32")
    return images, RNG.integers(0, 5, (count, *size))


def test_nothing_to_do_changes_nothing():
    images, masks = pairs((8, 12))
    found = deformed(images, masks)
    np.testing.assert_allclose(found[0], images, atol=1e-6)
    np.testing.assert_array_equal(found[1], masks)
    assert found[1].dtype == masks.dtype


def test_changes_are_a_function_of_the_seed():
    images, masks = pairs()
    once, again, other = (
        deformed(images, masks, seed, crop_size=8, **ALL)
        for seed in ((1, 2), (1, 2), (1, 3))
    )
    for first, second, third in zip(once, again, other, strict=True):
        assert first.shape[1:3] == (8, 8)
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, third)


def test_all_eight_ways_of_turning_come_up_exactly():
    images, masks = pairs()
    found_images, found_masks = deformed(images, masks, flip=True)
    ways = [
        lambda x, turns=turns, mirror=mirror: np.rot90(
            x[:, ::-1] if mirror else x, turns
        )
        for turns in range(4)
        for mirror in (False, True)
    ]
    counts = np.zeros(8, int)
    for x, y, image, mask in zip(
        images, masks, found_images, found_masks, strict=True
    ):
        fits = [np.abs(way(x) - image).max() < 1e-4 for way in ways]
        assert sum(fits) == 1
        np.testing.assert_array_equal(ways[np.argmax(fits)](y), mask)
        counts += fits
    assert counts.min() > 0


def test_crops_are_parts_of_the_image():
    size = (9, 14)
    places = np.arange(9 * 14).reshape(1, *size).repeat(600, axis=0)
    images = places[..., None].astype("float32")
    found, masks = deformed(images, places, crop_size=5)
    np.testing.assert_array_equal(found[..., 0], masks)
    corners = {(m[0, 0] // 14, m[0, 0] % 14) for m in masks}
    assert corners == {(y, x) for y in range(5) for x in range(10)}
    rows, columns = masks // 14, masks % 14
    assert (np.diff(rows, axis=1) == 1).all()
    assert (np.diff(columns, axis=2) == 1).all()


@pytest.mark.parametrize("option", ["rotation", "zoom", "elastic"])
def test_masks_move_with_their_images(option):
    y, x = np.mgrid[:48, :48]
    disk = ((y - 20) ** 2 + (x - 28) ** 2 < 100).astype("int64")
    masks = disk[None].repeat(16, axis=0)
    images = masks[..., None].astype("float32")
    found, moved = deformed(images, masks, **{option: ALL[option]})
    assert not np.array_equal(moved, masks)
    # Nearest and between: apart at the border alone, by less than a half.
    assert np.abs(found[..., 0] - moved).max() <= 0.75
    assert np.abs(found[..., 0] - moved).mean() < 0.02
    assert set(np.unique(moved)) == {0, 1}


def test_rotation_and_zoom_stay_within_their_bounds():
    image = np.zeros((256, 33, 33, 1), "float32")
    image[:, 16, 26] = 1  # ten pixels to the right of the center
    masks = np.zeros((256, 33, 33), int)
    for options, angles, lengths in (
        ({"rotation": 30.0}, (-30, 30), (10, 10)),
        ({"zoom": 0.3}, (0, 0), (7, 13)),
    ):
        found, _ = deformed(image, masks, **options)
        weights = found[..., 0] / found.sum(axis=(1, 2, 3))[:, None, None]
        y, x = (
            (weights * grid).sum(axis=(1, 2))
            for grid in np.mgrid[-16:17, -16:17]
        )
        angle = np.degrees(np.arctan2(y, x))
        length = np.hypot(y, x)
        for values, (low, high), slack in (
            (angle, angles, 2.0),
            (length, lengths, 0.6),
        ):
            assert values.min() >= low - slack
            assert values.max() <= high + slack
            assert np.ptp(values) >= 0.7 * (high - low)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("crop_size", 0),
        ("crop_size", 8.0),
        ("rotation", -1.0),
        ("rotation", 181.0),
        ("zoom", 1.0),
        ("zoom", float("nan")),
        ("elastic", -0.5),
        ("elastic", float("inf")),
        ("intensity", 1.5),
    ],
)
def test_arguments_out_of_range_are_refused(option, value):
    message = f"`{option}` must be .*Received: {option}={value}"
    with pytest.raises(ValueError, match=message):
        data.deform(**{option: value})


@pytest.mark.parametrize(
    ("options", "masks", "message"),
    [
        ({"crop_size": 9}, (8, 12), "smaller than crop_size=9. .*8, 12"),
        ({"flip": True}, (8, 12), "must be square, .*8, 12"),
        ({}, (12, 8), "Masks must be of their images' size. .*12, 8"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(options, masks, message):
    images, _ = pairs((8, 12), count=2)
    with pytest.raises(ValueError, match=message):
        deformed(images, np.zeros((2, *masks), int), **options)


def test_intensity_changes_images_alone():
    images, masks = pairs()
    images = images * 0.2 + 0.4  # nothing is clipped
    found, kept = deformed(images, masks, intensity=0.2)
    np.testing.assert_array_equal(kept, masks)
    for before, after in zip(images, found, strict=True):
        slope, offset = np.polyfit(before.ravel(), after.ravel(), 1)
        np.testing.assert_allclose(slope * before + offset, after, atol=1e-4)
        assert 0.8 - 1e-3 <= slope <= 1.2 + 1e-3
        assert abs(after.mean() - before.mean()) <= 0.2 + 1e-3
    bright, _ = deformed(np.ones_like(images), masks, intensity=0.2)
    assert bright.max() <= 1


def read_in_float64(values, y, x):
    """Read between pixels, as the formula has it, one place at a time."""
    _, height, width, _ = values.shape

    def mirrored(pixel, size):
        inside = abs(pixel) % (2 * size)
        return min(inside, 2 * size - 1 - inside)

    found = np.zeros((*y.shape, values.shape[-1]))
    for place in np.ndindex(*y.shape):
        row, column = y[place], x[place]
        for i in (int(np.floor(row)), int(np.floor(row)) + 1):
            for j in (int(np.floor(column)), int(np.floor(column)) + 1):
                weight = (1 - abs(row - i)) * (1 - abs(column - j))
                pixel = values[
                    place[0], mirrored(i, height), mirrored(j, width)
                ]
                found[place] += weight * pixel
    return found


@pytest.mark.parametrize("channels", [1, 3])
def test_one_warp_reads_what_the_formula_says(channels):
    rng = np.random.default_rng(0)
    images = rng.random((2, 7, 9, channels)).astype("float32")
    masks = rng.integers(0, 5, (2, 7, 9, 1)).astype("int32")
    y, x = rng.uniform(-20, 30, (2, 2, 5, 6)).astype("float32")
    read = importlib.import_module("kbp.data.deform")._read
    right = read_in_float64(
        images.astype("float64"), y.astype("float64"), x.astype("float64")
    )
    # Places of up to 30 pixels leave float32 some 2e-6 of a pixel.
    np.testing.assert_allclose(
        read(images, y, x, order=1), right, rtol=0, atol=1e-5
    )
    nearest = read(masks, y, x, order=0)
    right = read_in_float64(
        masks.astype("float64"),
        np.round(y).astype("float64"),
        np.round(x).astype("float64"),
    )
    np.testing.assert_array_equal(nearest, right)


def test_reading_is_that_of_keras_to_the_bit():
    rng = np.random.default_rng(0)
    images = rng.random((3, 8, 5, 2)).astype("float32")
    y, x = rng.uniform(-20, 30, (2, 3, 6, 4)).astype("float32")
    example = np.broadcast_to(np.arange(3.0)[:, None, None], y.shape)
    places = np.stack([example, y, x]).astype("float32")
    read = importlib.import_module("kbp.data.deform")._read
    for channel in range(2):
        np.testing.assert_array_equal(
            read(images, y, x, order=1)[..., channel],
            keras.ops.image.map_coordinates(
                images[..., channel], places, 1, fill_mode="reflect"
            ),
        )
