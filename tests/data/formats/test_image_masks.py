"""Folders of images and masks."""

import hashlib
import os
import re
import struct
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kbp.data import splitting, tiles
from kbp.data.datasets import dsb2018, isbi2012
from kbp.data.formats import image_masks
from kbp.data.images import files
from kbp.data.images.search import find_files
from kbp.errors import UserError

RNG = np.random.default_rng(0)
FIRST = partial(splitting.by_fold, fold=0, folds=2, validation_fraction=0)


def save(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)


@pytest.fixture
def folders(tmp_path):
    """Four pairs of another kind each."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    grey = RNG.integers(0, 256, (4, 6, 8), "uint8")
    classes = RNG.integers(0, 2, (4, 6, 8), "uint8")
    classes[:, 0, 0], classes[:, 0, 1] = 0, 1
    save(images / "a.png", grey[0])
    save(images / "b.tif", grey[1].astype("uint16") * 257)
    save(images / "c.JPEG", np.stack([grey[2]] * 3, axis=-1))
    opaque = np.full_like(grey[3], 255)
    save(images / "more" / "d.png", np.dstack([grey[3]] * 3 + [opaque]))
    save(masks / "a.png", classes[0] * 255)
    save(masks / "b.tiff", classes[1] * 255)
    save(masks / "c.png", np.stack([classes[2] * 255] * 3, axis=-1))
    save(masks / "more" / "d.png", classes[3] * 255)
    return images, masks, grey / np.float32(255), classes


def load(folders, **options):
    return image_masks.load(*folders[:2], **{"split": FIRST, **options})


@pytest.mark.parametrize("channels", [1, 3])
def test_files_of_every_kind_are_read(folders, channels):
    *_, grey, classes = folders
    splits = load(folders, channels=channels)
    assert splits.input_shape == (6, 8, channels)
    assert splits.class_names == ("background", "foreground")
    assert len(splits.validation) == 0
    inputs = np.concatenate([splits.test.inputs, splits.train.inputs])
    labels = np.concatenate([splits.test.labels, splits.train.labels])
    np.testing.assert_array_equal(labels, classes)
    for index in range(4):
        # JPEG loses a little.
        np.testing.assert_allclose(
            inputs[index],
            np.repeat(grey[index][..., None], channels, axis=-1),
            atol=0.2 if index == 2 else 1e-6,
        )
    assert inputs.dtype == np.float32


def test_indexed_and_multi_class_masks(folders):
    masks = folders[1]
    for path in masks.rglob("*.*"):
        palette = Image.fromarray(RNG.integers(0, 3, (6, 8), "uint8"))
        palette = palette.convert("P")
        palette.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
        path.unlink()
        palette.save(path.with_suffix(".png"))
    names = ("a", "b", "c")
    splits = load(folders, class_names=names)
    assert set(np.unique(splits.train.labels)) == {0, 1, 2}
    swapped = load(folders, class_names=names, mask_values=(2, 1, 0))
    np.testing.assert_array_equal(swapped.train.labels, 2 - splits.train.labels)


def test_tiles_mix_images_of_different_sizes(folders):
    images, masks, *_ = folders
    save(images / "more" / "d.png", RNG.integers(0, 256, (16, 20), "uint8"))
    save(masks / "more" / "d.png", np.eye(16, 20, dtype="uint8"))
    with pytest.raises(UserError, match=r"16x20 .*6x8.*Set data\.tile_size"):
        load(folders)
    with pytest.raises(UserError, match="255, which are no class's"):
        load(folders, tile_size=8)
    save(masks / "more" / "d.png", np.eye(16, 20, dtype="uint8") * 255)
    splits = load(folders, tile_size=8)
    assert splits.test.inputs.shape == (2, 8, 8, 1)
    assert splits.train.inputs.shape == (1 + 6, 8, 8, 1)
    assert splits.train.labels.shape == (1 + 6, 8, 8)
    np.testing.assert_array_equal(splits.train.labels[1], np.eye(8))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"]
)
def test_masks_of_every_mode_are_read(mode, tmp_path):
    values = np.eye(6, 8, dtype="uint8") * 255
    image = Image.fromarray(values)
    if mode == "I;16":
        image = Image.fromarray(values.astype("uint16"))
    image.convert(mode).save(tmp_path / "a.tif")
    read = files.read_mask(tmp_path / "a.tif")
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read > 0, values > 0)
    assert read.max() == (1 if mode == "1" else 255)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_images_and_masks_are_turned_as_exif_says(suffix, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    values = np.zeros((16, 24), "uint8")
    values[:8, :8] = 255
    Image.fromarray(values).save(tmp_path / f"a{suffix}", exif=exif)
    turned = np.rot90(values, -1)
    image = files.read_image(tmp_path / f"a{suffix}", 1)[0]
    np.testing.assert_allclose(image[..., 0], turned / 255, atol=1e-6)
    mask = files.read_mask(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(mask, turned)


def test_wide_integers_are_read_if_16_bits_hold_them(folders):
    path = folders[0] / "b.tif"
    narrow = files.read_image(path, 1)[0]
    save(path, (narrow[..., 0] * 65535).round().astype("int32"))
    with Image.open(path) as wide:
        assert wide.mode == "I"
    np.testing.assert_array_equal(files.read_image(path, 1)[0], narrow)


def test_large_images_are_read_up_to_a_limit_of_floats(folders, monkeypatch):
    path = folders[0] / "a.png"  # 48 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)  # Pillow warns
    monkeypatch.setattr(files, "MOST_PIXELS", 3 * 48)
    assert files.read_image(path, 1)[0].shape == (6, 8, 1)
    monkeypatch.setattr(files, "MOST_PIXELS", 3 * 47)
    for read in (
        partial(files.read_image, channels=3),
        files.read_mask,
    ):
        with pytest.raises(
            UserError, match=r"a\.png: has 8x6 pixels; at most 47"
        ):
            read(path)


def test_hidden_files_and_litter_are_passed_over(folders):
    images = folders[0]
    names = ("a.png", "b.tif", "c.JPEG", "more/d.png")
    (images / ".cache").mkdir()
    for name in (".a.bmp", ".cache/a.png", "more/Thumbs.db", "desktop.ini"):
        (images / name).write_bytes(b"no")
    found = find_files(images)
    assert [*found.files] == [images / name for name in names]
    assert found.others == []


def rename(folder, old, new):
    (folder / old).rename(folder / new)


def replace(folder, name, image, **options):
    (folder / "a.png").unlink()
    image.save(folder / name, **options)


def add_page_without_size(path):
    """Let the first page of a TIFF file be followed by one of no tags."""
    data = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * tags, len(data))
    path.write_bytes(data + bytes(6))


SHAPE = Image.fromarray(np.eye(6, 8, dtype="uint8") * 255)
FLOATS = Image.fromarray(np.eye(6, 8))
OTHERS = "holds images of other kinds"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda i, m: rename(m, "a.png", "z.png"), "masks: .*partner of a"),
        (lambda i, m: rename(i, "a.png", "z.png"), "masks: .*partner of z"),
        (lambda i, m: rename(i, "c.JPEG", "a.jpg"), "two files of one name"),
        (lambda i, m: (i / "a.png").write_bytes(b"no"), "a.png: cannot be"),
        (lambda i, m: (m / "a.png").write_bytes(b"no"), "a.png: cannot be"),
        (
            lambda i, m: save(m / "a.png", np.zeros((6, 9), "uint8")),
            "a.png: is of 6x9 pixels, but .*a.png of 6x8",
        ),
        (
            lambda i, m: save(m / "a.png", np.full((6, 8), 7, "uint8")),
            "a.png: has values 7, which .* Known are 0, 255; .*mask_values",
        ),
        (
            lambda i, m: save(
                m / "a.png", np.arange(7, 55, dtype="uint8").reshape(6, 8)
            ),
            r"values 7, 8, 9, 10, 11, \.\.\. \(48 in all\)",
        ),
        (
            lambda i, m: replace(m, "a.jpg", SHAPE, quality=50),
            r"a\.jpg: has values .* JPEG and WebP blur values, so save",
        ),
        (
            lambda i, m: [
                save(m / name, np.zeros((6, 8), "uint8"))
                for name in ("c.png", "more/d.png")
            ],
            "masks: no mask of the train split holds foreground",
        ),
        (
            lambda i, m: save(i / "extra.ppm", np.zeros((6, 8), "uint8")),
            f"images: {OTHERS}: extra.ppm. Known suffixes are .bmp, .jpeg",
        ),
        (
            lambda i, m: save(m / "more" / "x.gif", np.zeros((6, 8), "uint8")),
            f"masks: {OTHERS}: more/x.gif",
        ),
        (
            lambda i, m: save(
                m / "a.png", RNG.integers(0, 9, (6, 8, 3), "uint8")
            ),
            "a.png: is of color",
        ),
        (
            lambda i, m: save(
                m / "a.png", np.dstack([np.zeros_like(SHAPE)] * 3 + [SHAPE])
            ),
            "a.png: has its shape in the opacity",
        ),
        (
            lambda i, m: replace(m, "a.tif", SHAPE.convert("CMYK")),
            "a.tif: holds CMYK colors",
        ),
        (
            lambda i, m: replace(
                i, "a.tif", Image.new("LAB", (8, 6), (9, 9, 9))
            ),
            "a.tif: holds LAB colors",
        ),
        (lambda i, m: replace(i, "a.tif", FLOATS), "a.tif: holds floats"),
        (lambda i, m: replace(m, "a.tif", FLOATS), "a.tif: holds floats"),
        (
            lambda i, m: replace(i, "a.tif", Image.new("I", (8, 6), 65536)),
            "a.tif: holds values from 65536 to 65536, whose white",
        ),
        (
            lambda i, m: replace(i, "a.tif", Image.new("I", (8, 6), -1)),
            "a.tif: holds values from -1 to -1, whose white",
        ),
        (
            lambda i, m: replace(
                i, "a.tif", SHAPE, save_all=True, append_images=[SHAPE]
            ),
            "a.tif: has several pages",
        ),
        (
            lambda i, m: add_page_without_size(i / "b.tif"),
            "b.tif: cannot be read: Missing dimensions",
        ),
    ],
)
def test_what_is_wrong_is_named(folders, spoil, message):
    images, masks, *_ = folders
    spoil(images, masks)
    with pytest.raises(UserError, match=message):
        load(folders)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_names": ("a",)}, "class_names must be two or more; .*'a'"),
        ({"mask_values": (255,)}, "mask_values must .*class_names.*255"),
        ({"mask_values": (0, 128, 255)}, "mask_values must .*class_names"),
        ({"mask_values": (255, 255)}, "mask_values must .*class_names"),
        ({"count": 3}, "images: holds 4 images, not 3"),
        (
            {"split": partial(splitting.by_hash, validation_fraction=0.001)},
            "None of 4 examples is in the validation split. Give more",
        ),
        (
            {"split": partial(splitting.by_lists, folder="")},
            "data.lists must name a folder",
        ),
        (
            {
                "split": partial(
                    splitting.by_hash, validation_fraction=0, test_fraction=0
                )
            },
            "no image is in the test split",
        ),
    ],
)
def test_options_must_fit(folders, options, message):
    with pytest.raises(UserError, match=message):
        load(folders, **options)


def test_folders_must_hold_something(folders, tmp_path):
    images, masks, *_ = folders
    (tmp_path / "empty").mkdir()
    for first, second, message in (
        (tmp_path / "none", masks, "none: no such folder"),
        (images, tmp_path / "empty", "empty: holds no image"),
    ):
        with pytest.raises(UserError, match=message):
            image_masks.load(first, second, split=FIRST)


def test_hash_splits_by_the_first_byte():
    names = [str(i) for i in range(500)]
    found = splitting.by_hash(names)
    for split, indices in found.items():
        for index in indices:
            byte = hashlib.sha256(names[index].encode()).digest()[0]
            expected = "train" if byte < 204 else "validation"
            assert split == ("test" if byte >= 230 else expected)
    assert sorted(chain(*found.values())) == list(range(500))
    fewer = splitting.by_hash(names[::2])
    assert {names[::2][i] for i in fewer["test"]} <= {
        names[i] for i in found["test"]
    }


@given(st.integers(2, 40), st.integers(2, 6), st.floats(0, 0.5))
def test_folds_cover_everything_once(count, folds, fraction):
    folds = min(folds, count)
    names = [f"{i:02d}" for i in range(count)][::-1]
    tested = []
    for fold in range(folds):
        test = count * (fold + 1) // folds - count * fold // folds
        validation = round(fraction * (count - test))
        split = partial(splitting.by_fold, names, fold=fold, folds=folds)
        if fraction and not validation:
            with pytest.raises(UserError, match="in the validation split"):
                split(validation_fraction=fraction)
        found = split(validation_fraction=fraction if validation else 0)
        assert sorted(chain(*found.values())) == list(range(count))
        assert len(found["test"]) == test
        assert len(found["validation"]) == validation
        numbers = sorted(int(names[i]) for i in found["test"])
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        tested += found["test"]
    assert sorted(tested) == list(range(count))


def test_wrong_folds_are_refused():
    with pytest.raises(UserError, match="fold must be 0 to 4; received 5"):
        splitting.by_fold(["a"] * 9, fold=5, folds=5)
    with pytest.raises(UserError, match="3 examples make no 5 folds"):
        splitting.by_fold(["a"] * 3, fold=0, folds=5)


def test_lists_say_what_is_where(tmp_path):
    (tmp_path / "train.txt").write_text("b\n\n a \n")
    (tmp_path / "test.txt").write_text("c\n")
    names = ["a", "b", "c"]
    found = splitting.by_lists(names, folder=tmp_path)
    assert found == {"train": [0, 1], "validation": [], "test": [2]}
    (tmp_path / "train.txt").write_text("b\na\n", "utf-8-sig")
    assert splitting.by_lists(names, folder=tmp_path) == found
    for content, message in (
        (
            "c\nd.png\n",
            "names what is not there (names go without suffix): d.png",
        ),
        ("c\na\n", "test.txt: names what another list has: a"),
        ("", "the lists: leave out: c"),
    ):
        (tmp_path / "test.txt").write_text(content)
        with pytest.raises(UserError, match=re.escape(message)):
            splitting.by_lists(names, folder=tmp_path)
    with pytest.raises(UserError, match=r"train\.txt: cannot be read"):
        splitting.by_lists(names, folder=tmp_path / "nowhere")


def test_folders_say_what_is_where():
    names = ["test/a", "train/a", "train/more/b"]
    found = splitting.by_folder(names)
    assert found == {"train": [1, 2], "validation": [], "test": [0]}
    with pytest.raises(UserError, match=r"in none: a, val/c"):
        splitting.by_folder([*names, "val/c", "a"])


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(2, 12) | st.tuples(st.integers(2, 12), st.integers(2, 12)),
    st.integers(0, 11),
)
def test_tiles_join_to_the_image(height, width, tile, overlap):
    overlap = min(overlap, np.min(tile) - 1)
    image = np.random.default_rng(0).normal(size=(height, width, 2))
    parts = tiles.cut(image, tile, overlap=overlap)
    assert parts.shape[1:] == (*np.broadcast_to(tile, 2), 2)
    whole = tiles.join(parts, height, width, overlap=overlap)
    np.testing.assert_allclose(whole, image, atol=1e-12)


@pytest.mark.parametrize("loader", [isbi2012.load, dsb2018.load])
def test_named_sets_must_be_whole(loader, tmp_path):
    with pytest.raises(UserError, match=r"needs a data directory: .*KBP_DATA"):
        loader(None)
    with pytest.raises(UserError, match=r"no such folder. It must hold images"):
        loader(tmp_path)
    values = np.eye(4, dtype="uint8") * 255
    for name in ("isbi2012", "dsb2018"):
        for part in ("images", "masks"):
            save(tmp_path / name / part / "00.png", values)
    with pytest.raises(UserError, match=r"holds 1 images, not (30|334)\."):
        loader(tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(
    ("loader", "shape", "sizes", "share"),
    [
        (isbi2012.load, (512, 512, 1), (22, 2, 6), 0.22),
        (dsb2018.load, (256, 256, 1), (274, 33, 27), 0.077),
    ],
)
def test_named_sets(loader, shape, sizes, share):
    folder = os.environ.get("KBP_DATA")
    if not folder or not (Path(folder) / "isbi2012").is_dir():
        pytest.skip("KBP_DATA is not a folder with the data sets")
    splits = loader(folder)
    assert splits.input_shape == shape
    parts = splits.train, splits.validation, splits.test
    assert tuple(map(len, parts)) == sizes
    labels = np.concatenate([part.labels for part in parts])
    assert abs(labels.mean() - share) < 0.005
