"""Photographs of every kind, read at one size."""

import warnings

import bombs
import numpy as np
import photographs
import pytest
import tensorflow as tf
from PIL import Image

from kbp.data.images import files
from kbp.data.images.photographs import read_photographs
from kbp.data.images.resizing import RESIZES
from kbp.errors import UserError

RNG = np.random.default_rng(0)
# Columns of one color each, to see where they go.
COLORS = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]], "uint8")
COLUMNS = np.repeat(np.repeat(COLORS[None], 40, axis=0), 40, axis=1)
LOSS = 14  # of JPEG and WebP, and of a palette


@pytest.mark.parametrize("kind", photographs.KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_is_read_alike(kind, channels, tmp_path):
    path = photographs.save(tmp_path / "a", COLUMNS, kind)
    image = read_photographs([path], (40, 120), channels=channels)[0]
    assert image.dtype == np.uint8
    assert image.shape == (40, 120, channels)
    grey = np.asarray(Image.fromarray(COLUMNS).convert("L"))[..., None]
    is_grey = channels == 1 or photographs.KINDS[kind][0] in ("L", "I;16")
    expected = grey if is_grey else COLUMNS
    middle = np.s_[:, 20::40]  # JPEG blurs the borders
    gap = image[middle].astype(int) - expected[middle]
    assert np.abs(gap).max() <= LOSS


def test_what_is_not_opaque_lies_on_white(tmp_path):
    pixels = np.zeros((8, 8, 4), "uint8")
    pixels[:, :4, 3] = 255  # black at the left, nothing at the right
    pixels[:, 7, 3] = 128
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels).convert("LA").save(tmp_path / "b.png")
    indexed = Image.fromarray(np.repeat([[0, 1]], 4, axis=1).repeat(8, 0) == 1)
    indexed.convert("P").save(tmp_path / "c.png", transparency=255)
    paths = sorted(tmp_path.iterdir())
    for image in read_photographs(paths, (8, 8))[:, 0, :, 0]:
        assert image[:4].tolist() == [0] * 4
        assert image[4:7].tolist() == [255] * 3
        assert image[7] in (127, 255)


def test_crop_keeps_the_center_pad_all_and_stretch_the_proportions_of_none(
    tmp_path,
):
    path = tmp_path / "a.png"
    Image.fromarray(COLUMNS).save(path)  # 40 x 120
    crop, pad, stretch = (
        read_photographs([path], (12, 12), resize=resize)[0]
        for resize in ("crop", "pad", "stretch")
    )
    assert (crop[:, 1:-1] == COLORS[1]).all()
    assert (pad[:4] == 0).all()
    assert (pad[8:] == 0).all()
    np.testing.assert_array_equal(pad[5, [1, 6, 10]], COLORS)
    np.testing.assert_array_equal(stretch[5, [1, 6, 10]], COLORS)
    assert {*RESIZES} == {"crop", "pad", "stretch"}
    tall = Image.fromarray(COLUMNS.swapaxes(0, 1))
    tall.save(path)
    np.testing.assert_array_equal(
        read_photographs([path], (12, 12), resize="pad")[0],
        pad.swapaxes(0, 1),
    )


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("resize", RESIZES)
def test_a_smaller_image_is_the_mean_of_its_pixels(suffix, resize, tmp_path):
    """The reference averages whole squares, which any good filter is near."""
    coarse = RNG.integers(0, 256, (12, 12, 3)).astype("float64")
    smooth = np.asarray(
        Image.fromarray(coarse.astype("uint8")).resize((480, 480), 2)
    )
    Image.fromarray(smooth).save(tmp_path / f"a{suffix}", quality=95)
    path = tmp_path / f"a{suffix}"
    image = read_photographs([path], (48, 48), resize=resize)[0]
    means = smooth.reshape(48, 10, 48, 10, 3).mean(axis=(1, 3))
    gap = np.abs(image - means)
    assert gap.mean() < 2
    assert gap.max() < 25


def test_noise_is_averaged_and_not_sampled(tmp_path):
    noise = RNG.integers(0, 256, (256, 256, 3), "uint8")
    Image.fromarray(noise).save(tmp_path / "a.png")
    image = read_photographs([tmp_path / "a.png"], (16, 16))[0]
    # 256 pixels of deviation 74 have a mean of deviation 5.
    assert image.std() < 8


def test_sixteen_bits_count_from_black_to_white(tmp_path):
    values = np.linspace(0, 65535, 64).reshape(8, 8).astype("uint16")
    Image.fromarray(values).save(tmp_path / "a.png")
    image = read_photographs([tmp_path / "a.png"], (8, 8), channels=1)
    np.testing.assert_array_equal(
        image[0, ..., 0], (values / 257).round().astype("uint8")
    )


def deep(path, values):
    """Save 16 bits of grey, or of color as PNG."""
    if values.ndim == 2:
        Image.fromarray(values).save(path)
    else:
        path.write_bytes(tf.io.encode_png(values).numpy())


@pytest.mark.parametrize("white_level", [1023, 4095, 65535])
@pytest.mark.parametrize(
    ("bands", "suffix"),
    [(1, ".png"), (1, ".tif"), (2, ".png"), (3, ".png"), (4, ".png")],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_more_than_8_bits_count_from_black_to_the_white_level(
    white_level, bands, suffix, channels, tmp_path
):
    """The reference counts in float64, from the formula."""
    path = tmp_path / f"a{suffix}"
    values = RNG.integers(0, white_level + 1, (9, 9, bands)).astype("uint16")
    values[0, 0] = white_level
    opacity = np.ones((9, 9, 1))
    if bands in (2, 4):
        values[..., -1] = RNG.integers(0, 65536, (9, 9))
        opacity = values[..., -1:] / 65535
    deep(path, values[..., 0] if bands == 1 else values)
    expected = values[..., : bands - (bands in (2, 4))] / white_level
    expected = expected * opacity + 1 - opacity
    if channels == 1 and expected.shape[-1] == 3:
        expected = expected @ [[0.299], [0.587], [0.114]]
    expected = np.broadcast_to(expected, (9, 9, channels))
    facts = []
    images = read_photographs(
        [path], (9, 9), channels=channels, white_level=white_level, facts=facts
    )
    np.testing.assert_allclose(images[0] / 255, expected, atol=1.6 / 255)
    floats, fact = files.read_image(path, channels, white_level)
    # Opacity is rounded to whole values.
    np.testing.assert_allclose(floats, expected, atol=1.1 / white_level)
    assert fact.bits == facts[0].bits == 16
    assert fact.color == facts[0].color == (channels == 3 and bands > 2)
    if bands in (1, 3):
        assert fact.largest == facts[0].largest == white_level
        with pytest.raises(UserError, match=r"a\..*data\.white_level is 512"):
            read_photographs([path], (9, 9), white_level=512)
        with pytest.raises(UserError, match=r"a\..*data\.white_level is 512"):
            files.read_image(path, channels, 512)


@pytest.mark.parametrize("turn", range(1, 9))
def test_colors_of_16_bits_are_turned_as_others(turn, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(COLUMNS[:12, 30:50]).save(tmp_path / "a.png", exif=exif)
    content = (tmp_path / "a.png").read_bytes()
    at = content.index(b"eXIf") - 4
    chunk = content[at : at + 12 + int.from_bytes(content[at : at + 4], "big")]
    deep(tmp_path / "b.png", COLUMNS[:12, 30:50].astype("uint16") * 257)
    wide = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(wide[:33] + chunk + wide[33:])
    narrow, turned = (
        np.asarray(files.decode(tmp_path / name)) for name in ("a.png", "b.png")
    )
    np.testing.assert_array_equal(turned // 257, narrow)


def test_colors_of_16_bits_in_tiff_files_need_no_white_level(tmp_path):
    file = bombs.tiff(
        *(2, 1, np.array([9000, 0, 0] * 2, "<u2").tobytes()),
        **{"t258": (3, 1, 16), "t262": (3, 1, 2), "t277": (3, 1, 3)},
    )
    (tmp_path / "a.tif").write_bytes(file)
    facts = []
    read_photographs([tmp_path / "a.tif"], (2, 2), facts=facts)
    assert facts[0].bits == 16
    assert facts[0].largest == pytest.approx(9000, abs=257)
    with pytest.raises(UserError, match=r"a\.tif: is of color with 16 bits"):
        read_photographs([tmp_path / "a.tif"], (2, 2), white_level=9000)
    assert files.read_image(tmp_path / "a.tif", 3)[1] == facts[0]
    with pytest.raises(UserError, match=r"a\.tif: is of color with 16 bits"):
        files.read_image(tmp_path / "a.tif", 3, 9000)


def test_cameras_files_of_two_pictures_are_read(tmp_path):
    picture = Image.fromarray(COLUMNS)
    path = tmp_path / "a.jpg"
    picture.save(path, "MPO", save_all=True, append_images=[picture])
    with Image.open(path) as opened:
        assert opened.format == "MPO"
    assert read_photographs([path], (12, 12)).shape == (1, 12, 12, 3)


def test_wrong_files_are_counted_and_the_first_is_named(tmp_path):
    paths = photographs.write(tmp_path, 9, classes=["disks"])
    good = sorted(paths)
    content = good[3].read_bytes()
    good[3].write_bytes(content[: len(content) // 2])
    with pytest.raises(
        UserError, match=r"disks/003\.bmp: cannot be read: "
    ) as e:
        read_photographs(good, (8, 8))
    assert "files are wrong" not in str(e.value)
    good[6].write_text("<html>no image</html>")
    both = r"003\.bmp: .*\(2 files are wrong, also .*disks/006\.jpg\.\)"
    with pytest.raises(UserError, match=both):
        read_photographs(good, (8, 8))
    with pytest.raises(UserError, match=r"006\.jpg: .*no BMP, JPEG, PNG, TIFF"):
        read_photographs(good[6:], (8, 8))
    Image.new("L", (8, 8)).save(good[6], "GIF")
    with pytest.raises(UserError, match=r"006\.jpg: .*no BMP, JPEG, PNG, TIFF"):
        read_photographs(good[6:], (8, 8))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif"])
def test_half_a_file_is_refused(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    noise = RNG.integers(0, 256, (64, 64, 3), "uint8")
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    for size in (0, 10, len(content) // 2, len(content) - 600):
        path.write_bytes(content[:size])
        with pytest.raises(UserError, match=r"cannot be read: "):
            read_photographs([path], (32, 32))


def test_warnings_of_pillow_are_no_errors_and_filters_stay(
    tmp_path, monkeypatch
):
    paths = sorted(photographs.write(tmp_path, 9, classes=["disks"]))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150 * 150 // 2 + 5000)
    before = list(warnings.filters)
    assert len(read_photographs(paths, (8, 8))) == 9
    assert warnings.filters == before
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"cannot be read: .*exceeds"):
        read_photographs(paths, (8, 8))


def test_drafts_are_for_jpeg_alone_and_never_too_small(tmp_path):
    pixels = np.zeros((800, 640, 3), "uint8")
    for suffix, size in ((".jpg", (160, 200)), (".png", (640, 800))):
        path = tmp_path / f"a{suffix}"
        Image.fromarray(pixels).save(path)
        image = files.decode(path, draft=("RGB", (100, 100)))
        assert image.size == size


@pytest.mark.parametrize("resize", RESIZES)
def test_images_of_any_size_become_one_of_any_size(resize, tmp_path):
    path = tmp_path / "a.png"
    for width, height in RNG.integers(1, 60, (60, 2)):
        Image.new("RGB", (width, height), "red").save(path)
        size = tuple(RNG.integers(1, 40, 2))
        image = read_photographs([path], size, resize=resize)[0]
        assert image.shape == (*size, 3)
        red = (image == [255, 0, 0]).all(axis=-1)
        assert red.any() if resize == "pad" else red.all()
