"""Images with masks that are not in memory: the numbers of those that are."""

from functools import partial

import numpy as np
import pytest
from PIL import Image

from kbp.data import cache, evaluation_batches, splitting
from kbp.data.formats import image_masks
from kbp.data.images import pairs
from kbp.data.splitting import SPLITS
from kbp.errors import UserError

HASH = partial(splitting.by_fold, fold=0, folds=3, validation_fraction=0.3)
LAZY = ("none", "disk")


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Eight pairs of bytes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for index in range(8):
        pixels = rng.integers(0, 256, (20, 24, 3), "uint8")
        mask = rng.integers(0, 2, (20, 24), "uint8")
        save(tmp_path / "images" / f"{index}.png", pixels)
        save(tmp_path / "masks" / f"{index}.png", mask * 255)
    return tmp_path / "images", tmp_path / "masks"


def load(folders, mode, **options):
    return image_masks.load(*folders, split=HASH, mode=mode, **options)


def of_bytes(folders):
    return "uint8"


def of_16_bits(folders):
    """One image of 16 bits among others."""
    rng = np.random.default_rng(1)
    save(folders[0] / "3.png", rng.integers(0, 2**16, (20, 24), "uint16"))
    return "float32"


def of_16_bits_from_the_first(folders):
    rng = np.random.default_rng(1)
    save(folders[0] / "0.png", rng.integers(0, 2**16, (20, 24), "uint16"))
    return "float32"


def of_several_sizes(folders):
    for name, size in (("2", (33, 40)), ("5", (9, 16))):
        save(folders[0] / f"{name}.png", np.full((*size, 3), 9, "uint8"))
        save(folders[1] / f"{name}.png", np.eye(*size, dtype="uint8"))
        for path in folders[1].glob("*.png"):
            save(path, (np.asarray(Image.open(path)) > 0).astype("uint8"))
    return "uint8"


@pytest.mark.long
@pytest.mark.parametrize("mode", LAZY)
@pytest.mark.parametrize(
    ("change", "options"),
    [
        (of_bytes, {}),
        (of_bytes, {"channels": 3}),
        (of_bytes, {"tile_size": 16, "class_names": ("a", "b")}),
        (of_16_bits, {}),
        (of_16_bits, {"channels": 3, "tile_size": 12}),
        (of_16_bits_from_the_first, {}),
        (of_several_sizes, {"tile_size": 16}),
    ],
)
def test_batches_are_those_in_memory(folders, mode, change, options):
    dtype = change(folders)
    known = load(folders, "memory", **options)
    for _ in range(2):  # the second time, of what is kept
        found = load(folders, mode, **options)
        assert (found.images, found.remarks) == (known.images, ())
        assert found.input_shape == known.input_shape
        for name in SPLITS:
            a, b = (getattr(x, name) for x in (found, known))
            assert a.inputs.dtype == dtype
            assert a.labels.dtype == b.labels.dtype
            assert len(a) == len(b) > 0
            for pair in zip(
                evaluation_batches(a, 3), evaluation_batches(b, 3), strict=True
            ):
                for x, y in zip(*pair, strict=True):
                    np.testing.assert_array_equal(x, y)


def a_mask_of_another_size(folders):
    save(folders[1] / "4.png", np.zeros((20, 20), "uint8"))


def an_image_of_another_size(folders):
    save(folders[0] / "4.png", np.zeros((20, 20, 3), "uint8"))
    save(folders[1] / "4.png", np.zeros((20, 20), "uint8"))


def a_value_of_no_class(folders):
    save(folders[1] / "4.png", np.full((20, 24), 77, "uint8"))


def a_class_that_is_not_there(folders):
    for path in folders[1].iterdir():
        save(path, np.zeros((20, 24), "uint8"))


def a_damaged_image(folders):
    (folders[0] / "4.png").write_bytes(b"\x89PNG")


def a_damaged_mask(folders):
    path = folders[1] / "4.png"
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize("mode", LAZY)
@pytest.mark.parametrize(
    "damage",
    [
        a_mask_of_another_size,
        an_image_of_another_size,
        a_value_of_no_class,
        a_class_that_is_not_there,
        a_damaged_image,
        a_damaged_mask,
    ],
)
def test_what_is_wrong_is_said_as_of_those_in_memory(folders, mode, damage):
    damage(folders)
    said = []
    for each in ("memory", mode):
        with pytest.raises(UserError, match=r"images|masks") as error:
            load(folders, each)
        said.append(str(error.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("mode", LAZY)
def test_files_are_looked_at_once_for_several_runs(folders, mode, monkeypatch):
    load(folders, mode)

    def fail(*args, **kwargs):
        raise AssertionError("all files are read")

    monkeypatch.setattr(pairs.Pairs, "read", fail)
    assert len(load(folders, mode).train)
    assert len([*cache.root().iterdir()]) == 1


def test_tiles_of_a_file_that_has_changed_meanwhile_are_refused(folders):
    inputs = load(folders, "none", tile_size=16).train.inputs
    for path in folders[0].iterdir():
        save(path, np.zeros((10, 10, 3), "uint8"))
    with pytest.raises(UserError, match="another size than before"):
        inputs[:]
