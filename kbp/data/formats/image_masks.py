"""Images and the masks that belong to them, from two folders."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from kbp._utils.config import check_unused, choice, number
from kbp.data import cache, splitting
from kbp.data.images.files import count_pixels, read_image, read_mask
from kbp.data.images.kinds import WHITE_LEVEL, ImageKinds
from kbp.data.images.pairs import Pairs, check_sizes, in_tiles
from kbp.data.images.paths import PathPairs, Paths
from kbp.data.images.search import find_files
from kbp.data.registry import register_dataset
from kbp.data.splits import Examples, Splits
from kbp.data.splitting import some
from kbp.errors import UserError

# Images and masks in memory: each, all together, and TensorFlow's copy.
_COPIES = 3
# How to split, and the keys of the config that count for it.
_SPLITS: dict[str, tuple[Callable[..., splitting.Indices], tuple[str, ...]]] = {
    "hash": (splitting.by_hash, ("test_fraction", "validation_fraction")),
    "fold": (splitting.by_fold, ("fold", "folds", "validation_fraction")),
    "folders": (splitting.by_folder, ()),
    "lists": (splitting.by_lists, ("lists",)),
}


@dataclass(frozen=True)
class ImageMasksConfig:
    """Keys of `[data]` for `name = "image_masks"`, a person's own files.

    They lie in the folders `images` and `masks`, split by hash, by fold, by
    subfolders `train`, `validation` and `test`, or by files `train.txt`, ... in
    the folder `lists`. In images of more than 8 bits `white_level` is white.
    `cache` says where decoded images are, see `kbp.data.cache`.
    """

    images: str = ""
    masks: str = ""
    color: bool = False
    class_names: tuple[str, ...] = ("background", "foreground")
    mask_values: tuple[int, ...] = ()
    split: str = choice("hash", tuple(_SPLITS))
    fold: int = number(0, 0, 1000)
    folds: int = number(5, 2, 1000)
    lists: str = ""
    validation_fraction: float = number(0.1, 0, below=0.5)
    test_fraction: float = number(0.1, above=0, below=0.5)
    tile_size: int = number(0, 0, 8192)
    white_level: int = number(WHITE_LEVEL, 256, WHITE_LEVEL)
    cache: str = choice("auto", cache.MODES)


@register_dataset(
    "image_masks",
    config=ImageMasksConfig,
    task="segmentation",
    in_data_dir=False,
)
def load_config(
    config: ImageMasksConfig, data_dir: str | Path | None
) -> Splits:
    """Load what a recipe asks for, see `load`.

    Raises:
        UserError: a file is wrong, or a key belongs to another split.
    """
    for key in ("images", "masks"):
        if not getattr(config, key):
            raise UserError(f"data.{key} must name a folder")
    split, own = _SPLITS[config.split]
    others = {key for _, keys in _SPLITS.values() for key in keys} - {*own}
    reason = f"data.split is {config.split!r}"
    check_unused("data", config, reason, *others)
    options = {
        "folder" if key == "lists" else key: getattr(config, key) for key in own
    }
    return load(
        config.images,
        config.masks,
        split=partial(split, **options),
        channels=3 if config.color else 1,
        class_names=config.class_names,
        mask_values=config.mask_values or None,
        tile_size=config.tile_size or None,
        white_level=config.white_level,
        mode=config.cache,
    )


def load(
    images: str | Path,
    masks: str | Path,
    *,
    split: Callable[[Sequence[str]], splitting.Indices],
    channels: int = 1,
    class_names: Sequence[str] = ("background", "foreground"),
    mask_values: Sequence[int] | None = None,
    tile_size: int | None = None,
    count: int | None = None,
    white_level: int = WHITE_LEVEL,
    mode: str = "auto",
) -> Splits:
    """Load pairs of files that have the same name, suffixes aside.

    Subfolders are searched too; their names are part of an example's.

    Args:
        images: folder of PNG, JPEG or TIFF files, see `find_files`.
        masks: folder of grey or indexed images of the same size.
        split: `split(names) -> indices`, see `kbp.data.splitting`.
        channels: 1 to read images as grey, 3 as color.
        class_names: in the order of the classes.
        mask_values: value of each class in the masks' files. By default 0, 1,
            2, ...; or 0 and 255 if there are two classes and no value is 1.
        tile_size: cut each image into tiles of so many pixels each way, in its
            split; without it all must be of one size.
        count: how many pairs there must be; by default any number.
        white_level: value of white in images of more than 8 bits.
        mode: where images and masks are, see `image_folder.load`.

    Returns:
        Images or tiles `(examples, height, width, channels)` in [0, 1], or as
        bytes if they are not in memory, with labels `(examples, height,
        width)`.

    Raises:
        UserError: `class_names` and `mask_values` do not fit, a folder is
            missing or empty or holds other files, there are more or fewer pairs
            than `count`, a file has no partner or cannot be read, a mask has
            another size than its image or a value that is no class's, images
            differ in size, a split for training or test is empty, or a class
            does not occur in the former.
    """
    _check_classes(class_names, mask_values)
    names, paths, remarks = find_pairs(Path(images), Path(masks))
    if count not in (None, len(paths)):
        raise UserError(f"{images}: holds {len(paths)} images, not {count}.")
    indices = split(names)
    for name in ("train", "test"):
        if not indices[name]:
            raise UserError(f"{images}: no image is in the {name} split.")
    pixels = sum(count_pixels(path) for path, _ in paths)
    mode = cache.choose(
        mode, _COPIES * pixels * 4 * (channels + 1), pixels * (channels + 1)
    )
    files = Pairs(
        paths, channels=channels, white_level=white_level, tile_size=tile_size
    )
    classes = _Classes(paths.seconds, class_names, mask_values)
    if mode == "memory":
        parts, kinds = _in_memory(files, indices, classes)
        said = ""
    else:
        kept = files.keep(Path(images), Path(masks), on_disk=mode == "disk")
        values = classes.known(kept.notes["values"])
        x, y = kept.arrays
        y = y.map(partial(_classes, values=values), y.shape[1:], "int32")
        ends = np.cumsum(kept.notes["tiles"])
        tiles = np.split(np.arange(len(x)), ends[:-1])
        parts = {
            name: Examples(x.view(found), y.view(found))
            for name, found in (
                (name, _joined(tiles, chosen))
                for name, chosen in indices.items()
            )
        }
        kinds, said = ImageKinds.from_json(kept.notes["kinds"]), kept.said
        remarks += kept.remarks
    classes.check_taught(masks, indices["train"])
    return Splits(
        parts["train"],
        parts["validation"],
        parts["test"],
        class_names=tuple(class_names),
        remarks=(*remarks, *kinds.too_dark()),
        images=kinds,
        kept=said,
    )


def _in_memory(
    files: Pairs, indices: splitting.Indices, classes: "_Classes"
) -> tuple[dict[str, Examples], ImageKinds]:
    """Return the examples of each split, read whole."""
    paths, tile_size = files.paths, files.tile_size
    read = [
        read_image(image, files.channels, files.white_level)
        for image, _ in paths
    ]
    inputs = [floats for floats, _ in read]
    labels = [read_mask(mask) for _, mask in paths]
    usual = paths[0][0], inputs[0]
    for pair, x, y in zip(paths, inputs, labels, strict=True):
        check_sizes(pair, x, y, (pair[0], x) if tile_size else usual)
    values = classes.known([np.unique(label).tolist() for label in labels])
    labels = [_classes(label, values) for label in labels]
    parts = {
        name: Examples(
            _stack(inputs, chosen, tile_size), _stack(labels, chosen, tile_size)
        )
        for name, chosen in indices.items()
    }
    return parts, ImageKinds.of([facts for _, facts in read], files.white_level)


def find_pairs(
    images: Path, masks: Path
) -> tuple[list[str], PathPairs, list[str]]:
    """Return names, and the files of two folders that have each of them.

    Remarks beside them say what was passed over.

    Raises:
        UserError: a folder is wrong, see `find_files`; two files of one have
            the same name, or one has no partner.
    """
    held = {folder: find_files(folder) for folder in (images, masks)}
    found = {folder: _by_name(folder, x.files) for folder, x in held.items()}
    for folder, other in ((images, masks), (masks, images)):
        alone = found[folder].keys() - found[other].keys()
        if alone:
            raise UserError(f"{other}: has no partner of {some(alone)}.")
    names = sorted(found[images])
    pairs = PathPairs(
        *(
            Paths(held[folder].files[places[name]] for name in names)
            for folder, places in found.items()
        )
    )
    remarks = [each.remark(folder) for folder, each in held.items()]
    return names, pairs, [remark for remark in remarks if remark]


def _check_classes(names: Sequence[str], values: Sequence[int] | None) -> None:
    if len(names) < 2:
        raise UserError(
            f"class_names must be two or more; received {list(names)}"
        )
    if values and not len(names) == len(values) == len({*values}):
        raise UserError(
            "mask_values must be another one for each of class_names, "
            f"{list(names)}; received {list(values)}"
        )


def _by_name(folder: Path, paths: Sequence[Path]) -> dict[str, int]:
    """Return the place of each name among the paths."""
    found: dict[str, int] = {}
    for place, path in enumerate(paths):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise UserError(
                f"{folder}: has two files of one name: "
                f"{paths[found[name]].name}, {path.name}."
            )
        found[name] = place
    return found


def _stack(
    arrays: Sequence[np.ndarray], chosen: Sequence[int], tile_size: int | None
) -> np.ndarray:
    """Return some arrays, or their tiles, as one."""
    none = in_tiles(arrays[0], tile_size)[:0]
    return np.concatenate(
        [none, *(in_tiles(arrays[index], tile_size) for index in chosen)]
    )


def _joined(tiles: Sequence[np.ndarray], chosen: Sequence[int]) -> np.ndarray:
    """Return the indices of the tiles of some images."""
    return np.concatenate([np.arange(0), *(tiles[index] for index in chosen)])


class _Classes:
    """What values of masks stand for.

    Args:
        masks: files of the masks.
        names: of the classes.
        values: of each class, `None` for the usual ones.
    """

    def __init__(
        self,
        masks: Sequence[Path],
        names: Sequence[str],
        values: Sequence[int] | None,
    ):
        self.masks, self.names, self.values = masks, names, values
        self.held: Sequence[Sequence[int]] = ()

    def known(self, held: Sequence[Sequence[int]]) -> Sequence[int]:
        """Return the value of each class.

        Args:
            held: values that each mask holds.

        Raises:
            UserError: one is no class's.
        """
        self.held, count = held, len(self.names)
        if not self.values:
            two = count == 2 and not any(1 in values for values in held)
            self.values = (0, 255) if two else tuple(range(count))
        for path, found in zip(self.masks, held, strict=True):
            if unknown := sorted({*found} - {*self.values}):
                raise self.unknown(path, unknown)
        return self.values

    def unknown(self, path: Path, values: Sequence[int]) -> UserError:
        """Return the error that a mask holds values of no class."""
        advice = "others are given as mask_values"
        if path.suffix.lower() in (".jpeg", ".jpg", ".webp"):
            advice += "; JPEG and WebP blur values, so save masks as PNG"
        return UserError(
            f"{path}: has values {some(values)}, which are no class's. Known "
            f"are {', '.join(map(str, self.values or ()))}; {advice}."
        )

    def check_taught(self, masks: str | Path, train: Sequence[int]) -> None:
        """Raise a UserError if no mask for training holds some class."""
        taught = {value for index in train for value in self.held[index]}
        pairs = zip(self.names, self.values or (), strict=True)
        absent = [name for name, value in pairs if value not in taught]
        if absent:
            raise UserError(
                f"{masks}: no mask of the train split holds {some(absent)}, so "
                "nothing could be learned about that."
            )


def _classes(label: np.ndarray, values: Sequence[int]) -> np.ndarray:
    classes = np.zeros(label.shape, "int32")
    for index, value in enumerate(values):
        classes[label == value] = index
    return classes
