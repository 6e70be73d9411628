"""PNG files give the pixels that Pillow reads, whoever decodes them."""

import runpy
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from kbp.data.images import files
from kbp.data.images.photographs import read_photographs
from kbp.data.records import tfrecord
from kbp.deploy.registry import TEMPLATES
from kbp.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 30, 3), "uint8")


def png(depth, color, rows, width, height, extra=b""):
    """Return a PNG file of raw rows."""

    def chunk(name, content):
        check = zlib.crc32(name + content)
        size = struct.pack(">I", len(content))
        return size + name + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            extra,
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "I;16"])
def test_pixels_are_those_of_pillow(mode, tmp_path):
    file = tmp_path / "image.png"
    if mode == "I;16":
        Image.fromarray(PIXELS[..., 0].astype("uint16") * 257).save(file)
    else:
        Image.fromarray(PIXELS).convert(mode).save(file)
    found, expected = files.decode(file), Image.open(file)
    assert found.mode == expected.mode
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize(
    ("depth", "rows", "width", "values"),
    [
        (4, b"\x00\x1f\x00\xa3", 2, [[17, 255], [170, 51]]),
        (2, b"\x00\x1b\x00\xe4", 4, [[0, 85, 170, 255], [255, 170, 85, 0]]),
    ],
)
def test_few_bits_count_from_black_to_white(
    depth, rows, width, values, tmp_path
):
    file = tmp_path / "image.png"
    file.write_bytes(png(depth, 0, rows, width, 2))
    np.testing.assert_array_equal(files.decode(file), values)


def test_a_turn_is_kept(tmp_path):
    file = tmp_path / "image.png"
    image = Image.fromarray(PIXELS)
    exif = image.getexif()
    exif[0x0112] = 6  # turned to the right
    image.save(file, exif=exif)
    np.testing.assert_array_equal(files.decode(file), np.rot90(PIXELS, -1))


def test_a_cut_file_is_named(tmp_path):
    file = tmp_path / "image.png"
    Image.fromarray(PIXELS).save(file)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"image\.png: cannot be read: .*trunc"):
        files.decode(file)


def transparent(mode):
    """Return an image of a mode that is opaque only in part."""
    rng = np.random.default_rng(1)
    colors = Image.fromarray(PIXELS)
    opacity = Image.fromarray(rng.integers(0, 256, (40, 30), "uint8"))
    if mode == "P":
        image = colors.quantize(16)
        image.info["transparency"] = 3
    elif mode.endswith("A"):
        image = colors.convert(mode[:-1])
        image.putalpha(opacity)
    else:  # one of its values is
        image = colors.convert(mode)
        first = image.getpixel((0, 0))
        image.info["transparency"] = first
    return image


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB", "1"])
def test_what_is_not_opaque_lies_on_white_for_every_reader(
    mode, channels, tmp_path
):
    file, target = tmp_path / "image.png", "L" if channels == 1 else "RGB"
    image = transparent(mode)
    if "transparency" in image.info:
        image.save(file, transparency=image.info["transparency"])
    else:
        image.save(file)
    white = Image.new("RGBA", image.size, "white")
    opened = Image.open(file)
    assert opened.has_transparency_data
    right = Image.alpha_composite(white, opened.convert("RGBA")).convert(target)
    right = np.asarray(right).reshape(40, 30, channels)
    floats, _ = files.read_image(file, channels)
    np.testing.assert_allclose(255 * floats, right, atol=1e-3)
    (photograph,) = read_photographs([file], (40, 30), channels=channels)
    np.testing.assert_array_equal(photograph, right)
    features = tfrecord.Features("image", "label", 30, channels)
    (square,) = read_photographs([file], (30, 30), channels=channels)
    record = tfrecord._decoded(file.read_bytes(), features, "record 0")
    np.testing.assert_array_equal(record, square)
    template = runpy.run_path(TEMPLATES / "python" / "pictures.py")
    shown = template["read"](file, {"white_level": 65535}).convert(target)
    np.testing.assert_array_equal(np.asarray(shown).reshape(right.shape), right)


def test_indices_of_a_mask_are_what_they_are(tmp_path):
    image = transparent("P")
    image.save(tmp_path / "mask.png", transparency=3)
    found = np.asarray(files.decode(tmp_path / "mask.png"))
    np.testing.assert_array_equal(found, np.asarray(image))
    one = Image.new("P", (6, 5), 3)
    one.putpalette([9, 8, 7] * 16)
    one.save(tmp_path / "mask.png", transparency=3)
    assert (files.read_mask(tmp_path / "mask.png") == 3).all()
