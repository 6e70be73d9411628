"""Folders of images and masks."""

import hashlib
import os
import re
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kbp.data import dsb2018, image_masks, isbi2012, splitting, tiles
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
    save(images / "more" / "d.png", np.dstack([grey[3]] * 3 + [grey[3]]))
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
    with pytest.raises(UserError, match=r"d\.png: is of 16x20 .*6x8.*tile"):
        load(folders)
    with pytest.raises(UserError, match="255, which are no class's"):
        load(folders, tile_size=8)
    save(masks / "more" / "d.png", np.eye(16, 20, dtype="uint8") * 255)
    splits = load(folders, tile_size=8)
    assert splits.test.inputs.shape == (2, 8, 8, 1)
    assert splits.train.inputs.shape == (1 + 6, 8, 8, 1)
    assert splits.train.labels.shape == (1 + 6, 8, 8)
    np.testing.assert_array_equal(splits.train.labels[1], np.eye(8))


def rename(folder, old, new):
    (folder / old).rename(folder / new)


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
            "a.png: has values 7, which are no class's. Known are 0, 255",
        ),
        (
            lambda i, m: save(
                m / "a.png", RNG.integers(0, 9, (6, 8, 3), "uint8")
            ),
            "a.png: is of color",
        ),
        (
            lambda i, m: (
                Image.fromarray(np.eye(6, 8)).save(i / "a.tif")
                or (i / "a.png").unlink()
            ),
            "a.tif: holds floats",
        ),
        (
            lambda i, m: (
                Image.fromarray(np.eye(6, 8)).save(m / "a.tif")
                or (m / "a.png").unlink()
            ),
            "a.tif: holds floats",
        ),
        (
            lambda i, m: [
                Image.new("L", (8, 6)).save(
                    i / "a.tif",
                    save_all=True,
                    append_images=[Image.new("L", (8, 6))],
                ),
                (i / "a.png").unlink(),
            ],
            "a.tif: has 2 pages",
        ),
    ],
)
def test_what_is_wrong_is_named(folders, spoil, message):
    images, masks, *_ = folders
    spoil(images, masks)
    with pytest.raises(UserError, match=message):
        load(folders)


def test_folders_and_splits_must_hold_something(folders, tmp_path):
    images, masks, *_ = folders
    (tmp_path / "empty").mkdir()
    for first, second, message in (
        (tmp_path / "none", masks, "none: no such folder"),
        (images, tmp_path / "empty", "empty: holds no image"),
    ):
        with pytest.raises(UserError, match=message):
            image_masks.load(first, second, split=FIRST)
    with pytest.raises(UserError, match="no image is in the test split"):
        load(folders, split=partial(splitting.by_hash, test_fraction=0))


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
        found = splitting.by_fold(
            names, fold=fold, folds=folds, validation_fraction=fraction
        )
        assert sorted(chain(*found.values())) == list(range(count))
        rest = count - len(found["test"])
        assert len(found["validation"]) == round(fraction * rest)
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
    for content, message in (
        ("c\nd\n", "test.txt: names what is not there: d"),
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
    st.integers(2, 12),
    st.integers(0, 11),
)
def test_tiles_join_to_the_image(height, width, tile, overlap):
    overlap = min(overlap, tile - 1)
    image = np.random.default_rng(0).normal(size=(height, width, 2))
    parts = tiles.cut(image, tile, overlap=overlap)
    assert parts.shape[1:] == (tile, tile, 2)
    whole = tiles.join(parts, height, width, overlap=overlap)
    np.testing.assert_allclose(whole, image, atol=1e-12)


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
    with pytest.raises(UserError, match="KBP_DATA"):
        loader(None)
