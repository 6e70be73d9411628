"""PNG files give the pixels that Pillow reads, whoever decodes them."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from kbp.data.images import files
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
