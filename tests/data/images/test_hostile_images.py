"""Files that want more memory or time than they may have."""

import io
import json

import bombs
import fresh
import numpy as np
import photographs
import pytest
from PIL import Image

from kbp.data.images.files import read_image, read_mask
from kbp.data.images.photographs import read_photographs
from kbp.errors import UserError

MOST_BYTES, MOST_SECONDS = 1.1e9, 10
# What is odd, and yet an image: its few pixels are all that is decoded.
READ = {
    *("circle.tif", "exif.jpg", "exif.png", "more_rows.png", "tag.tif"),
    *("packed_strips.tif", "some_run_lengths.bmp"),
}


def explode(folder, *words):
    """Return what came of each file, in a process that measures itself."""
    done = fresh.command(bombs.__file__, folder, *words)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bombs")
    bombs.write(folder, large=False)
    return explode(folder)


NAMES = [name for name in bombs.BOMBS if not name.startswith("large")]


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_what_a_file_asks_for_is_bounded(found, name):
    for reader in ("photograph", "image", "mask"):
        result = found[f"{name} as {reader}"]
        assert result["bytes"] < MOST_BYTES
        assert result["seconds"] < MOST_SECONDS
        said = result["said"]
        assert " was raised" not in said
        assert "\n" not in said
        if name in READ:
            assert said == "read"
        elif name != "some_scans.jpg":
            assert name in said


@pytest.mark.slow
def test_large_images_are_read_one_after_the_other(tmp_path):
    bombs.write(tmp_path, large=True)
    found = explode(tmp_path, "many")
    assert any(name.startswith("many large_color") for name in found)
    for name, result in found.items():
        assert result["bytes"] < MOST_BYTES, name
        assert " was raised" not in result["said"], name


def contents():
    """Return a small image of every kind, as the bytes of its file."""
    rng = np.random.default_rng(0)
    pixels = photographs.draw("disks", rng, (24, 20))
    made = []
    for mode, suffix, options in (
        *((m, s, o) for m, s, o in photographs.KINDS.values() if m != "turned"),
        ("RGB", ".tif", {"compression": "tiff_lzw"}),
        ("RGB", ".tif", {"compression": "tiff_adobe_deflate"}),
        ("RGB", ".jpg", {"progressive": True}),
        ("CMYK", ".jpg", {}),
    ):
        image = Image.fromarray(pixels)
        if mode == "I;16":
            grey = np.asarray(image.convert("L")).astype("uint16") * 257
            image = Image.fromarray(grey)
        else:
            image = image.convert(mode)
        file = io.BytesIO()
        image.save(file, Image.registered_extensions()[suffix], **options)
        made.append((suffix, file.getvalue()))
    return made


def mutate(content, rng):
    """Return a file with some bytes changed, cut out, doubled or cut off."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        # Headers say the most.
        reach = len(content) if rng.random() < 0.5 else 64
        place = int(rng.integers(0, max(1, min(reach, len(content)))))
        kind = rng.integers(5)
        if kind < 2:
            content[place : place + 1] = bytes([rng.integers(256)])
        elif kind == 2:
            extreme = [b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"]
            content[place : place + 4] = extreme[rng.integers(3)]
        elif kind == 3:
            part = content[place : place + int(rng.integers(1, 64))]
            content[place:place] = part if rng.random() < 0.5 else b""
            if rng.random() < 0.5:
                del content[place : place + len(part)]
        else:
            del content[int(rng.integers(len(content) // 2, len(content))) :]
    return bytes(content)


def check_reading(path):
    for read in (
        lambda path: read_photographs([path], (8, 8)),
        lambda path: read_image(path, 1),
        read_mask,
    ):
        said = str(path)
        try:
            read(path)
        except UserError as error:
            said = str(error)
        assert str(path) in said
        assert "\n" not in said


def fuzz(folder, count, seed):
    rng, kinds = np.random.default_rng(seed), contents()
    for index in range(count):
        suffix, content = kinds[index % len(kinds)]
        path = folder / f"a{suffix}"
        path.write_bytes(mutate(content, rng))
        check_reading(path)


def test_some_damaged_files_are_read_or_refused(tmp_path):
    fuzz(tmp_path, 60, seed=1)


@pytest.mark.slow
def test_many_damaged_files_are_read_or_refused(tmp_path):
    fuzz(tmp_path, 500, seed=2)
