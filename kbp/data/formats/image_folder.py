"""Photographs in a folder for each class."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kbp._utils.config import check_unused, choice, number
from kbp.data import cache
from kbp.data.images.groups import check_apart, groups_of
from kbp.data.images.kinds import WHITE_LEVEL
from kbp.data.images.paths import Paths
from kbp.data.images.photographs import (
    RESIZE,
    RESIZES,
    Photographs,
)
from kbp.data.images.search import Found, find_images, is_litter, said_of_kinds
from kbp.data.images.wrong import refuse
from kbp.data.registry import register_dataset
from kbp.data.splits import Examples, Splits
from kbp.data.splitting import SPLITS, Indices, by_class, some
from kbp.errors import UserError, unexpanded

_LIKE_SPLITS = (
    "train",
    "training",
    "val",
    "valid",
    "validation",
    "test",
    "testing",
)


@dataclass(frozen=True)
class ImageFolderConfig:
    """Keys of `[data]` for `name = "image_folder"`, a person's own photographs.

    `folder` holds a folder for each class, or `train`, `test` and perhaps
    `validation`, which hold these. Without them each class is split alike;
    images whose file names have the same first group of `group_pattern` stay
    together then. In images of more than 8 bits `white_level` is white.
    `cache` says where decoded images are, see `kbp.data.cache`.
    """

    folder: str = ""
    image_size: int = number(64, 8, 2048)
    color: bool = True
    resize: str = choice(RESIZE, tuple(RESIZES))
    validation_fraction: float = number(0.1, 0, below=0.5)
    test_fraction: float = number(0.2, above=0, below=0.5)
    group_pattern: str = ""
    white_level: int = number(WHITE_LEVEL, 256, WHITE_LEVEL)
    cache: str = choice("auto", cache.MODES)


@register_dataset(
    "image_folder",
    config=ImageFolderConfig,
    task="classification",
    in_data_dir=False,
)
def load_config(
    config: ImageFolderConfig, data_dir: str | Path | None
) -> Splits:
    """Load what a recipe asks for, see `load`.

    Raises:
        UserError: a file or folder is wrong, or a key changes nothing.
    """
    if not config.folder:
        raise UserError("data.folder must name a folder")
    folder = Path(config.folder)
    if _is_split(folder):
        reason = f"{folder} is split into folders"
        check_unused(
            "data", config, reason, "validation_fraction", "test_fraction"
        )
    return load(
        folder,
        image_size=config.image_size,
        channels=3 if config.color else 1,
        resize=config.resize,
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
        group_pattern=config.group_pattern,
        white_level=config.white_level,
        mode=config.cache,
    )


def load(
    folder: str | Path,
    *,
    image_size: int = 64,
    channels: int = 3,
    resize: str = RESIZE,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
    group_pattern: str = "",
    white_level: int = WHITE_LEVEL,
    mode: str = "auto",
) -> Splits:
    """Load the images of a folder for each class, by the folders' names.

    Args:
        folder: holds the folders of the classes, or `train`, `test` and perhaps
            `validation`, which hold them. Their own subfolders are searched.
        image_size: height and width that the images get, in pixels.
        channels: 1 to read images as grey, 3 as color.
        resize: how they get it, see `read_photographs`.
        validation_fraction: of each class, without folders of splits.
        test_fraction: of each class, without folders of splits.
        group_pattern: regular expression that is searched in each file's name;
            what its first group matches names what the image belongs to, such
            as a patient or a burst, of which all images are in one split.
        white_level: value of white in images of more than 8 bits.
        mode: where the images are, decoded: `"memory"`; `"disk"`, in the cache
            of this user; `"none"`, so they are decoded again and again; or
            `"auto"`, the first of these that has room.

    Returns:
        Bytes `(examples, image_size, image_size, channels)`, with the classes
        in alphabetical order.

    Raises:
        UserError: a folder is missing, is empty or holds images of other kinds;
            there are fewer than two classes, or one is not in every split; an
            image cannot be read; a name does not match, or a group is in two
            splits; the images would fill half of the memory that they are to
            be in.
    """
    folder = Path(folder)
    strange: list[Path] = []
    found, remarks = _find(folder, strange)
    class_names = tuple(found["train"])
    paths, labels, places = _listed(found)
    source = Photographs(
        paths,
        (image_size, image_size),
        channels=channels,
        resize=resize,
        white_level=white_level,
    )
    if strange:
        refuse([said_of_kinds(folder, strange)], source.find_wrong())
    groups = None
    if group_pattern:
        groups = groups_of([path.name for path in paths], group_pattern)
    names = [path.relative_to(folder).as_posix() for path in paths]
    if not _is_split(folder):
        places = _split(
            folder, names, labels, groups, validation_fraction, test_fraction
        )
    elif groups:
        check_apart(folder, groups, places)
    inputs, kept = source.hold(folder, places, mode)
    order = {name: index for index, name in enumerate(class_names)}
    parts = {
        split: Examples(
            inputs[split],
            np.array([order[labels[i]] for i in chosen], "int64"),
            tuple(names[i] for i in chosen),
        )
        for split, chosen in places.items()
    }
    return Splits(
        parts["train"],
        parts["validation"],
        parts["test"],
        class_names=class_names,
        remarks=(*remarks, *kept.remarks, *kept.kinds.too_dark()),
        images=kept.kinds,
        kept=kept.said,
    )


def _listed(
    found: Mapping[str, Mapping[str, Sequence[Path]]],
) -> tuple[Paths, list[str], Indices]:
    """Return all files, their classes, and the indices of each split."""
    labels: list[str] = []
    places: Indices = {split: [] for split in SPLITS}
    for split, classes in found.items():
        for name, files in classes.items():
            places[split] += range(len(labels), len(labels) + len(files))
            labels += [name] * len(files)
    held = (files for each in found.values() for files in each.values())
    return Paths(itertools.chain.from_iterable(held)), labels, places


def _split(
    folder: Path,
    names: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str] | None,
    validation_fraction: float,
    test_fraction: float,
) -> Indices:
    try:
        return by_class(
            names,
            labels,
            groups=groups,
            validation_fraction=validation_fraction,
            test_fraction=test_fraction,
        )
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error


def _is_split(folder: Path) -> bool:
    return (folder / "train").is_dir()


def _find(
    folder: Path, strange: list[Path]
) -> tuple[dict[str, dict[str, Paths]], list[str]]:
    """Return files by class, by split, and remarks about what is passed over.

    Without splits all are in "train". `strange` gets images of other kinds.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder{unexpanded(folder)}.")
    if not _is_split(folder):
        _check_names(folder)
        classes, remarks = _classes(folder, strange)
        _check_several(folder, classes)
        return {"train": classes}, remarks
    folders = {path.name: path for path in _folders(folder)}
    if others := folders.keys() - {*SPLITS}:
        raise UserError(
            f"{folder}: holds train, so its other folders must be validation "
            f"and test; found {some(others)}. A class needs another name than "
            "train."
        )
    if "test" not in folders:
        raise UserError(f"{folder}: holds train, and no folder test.")
    found, remarks = {}, []
    for name in (name for name in SPLITS if name in folders):
        found[name], own = _classes(folders[name], strange)
        remarks += own
    _check_several(folders["train"], found["train"])
    for name, classes in found.items():
        for problem, differing in (
            ("has no folder of class", found["train"].keys() - classes.keys()),
            ("has what train has not:", classes.keys() - found["train"].keys()),
        ):
            if differing:
                raise UserError(
                    f"{folders[name]}: {problem} {some(differing)}."
                )
    return found, remarks


def _check_names(folder: Path) -> None:
    """Refuse folders that are splits by another name, or break lines."""
    names = [path.name for path in _folders(folder)]
    odd = {n for n in names if n.lower() in _LIKE_SPLITS or n != n.strip()}
    if odd or any(len(name.splitlines()) > 1 for name in names):
        raise UserError(
            f"{folder}: holds {some(map(repr, odd or names))}. Folders of "
            "splits are named train, validation and test, and those of classes "
            "otherwise, in one line."
        )


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, which may hold nothing else."""
    inside = [
        path
        for path in sorted(folder.iterdir())
        if not is_litter(Path(path.name))
    ]
    if loose := [path.name for path in inside if not path.is_dir()]:
        raise UserError(
            f"{folder}: must hold folders alone; holds files: {some(loose)}."
        )
    return inside


def _classes(
    folder: Path, strange: list[Path]
) -> tuple[dict[str, Paths], list[str]]:
    """Return files by class, and remarks about what else is there."""
    folders = _folders(folder)
    found = {
        path.name: find_images(path, {*folders} - {path}, strange)
        for path in folders
    }
    others, links = (
        [path for each in found.values() for path in getattr(each, what)]
        for what in ("others", "links")
    )
    remark = Found(Paths([]), others, links).remark(folder)
    images = {name: each.images for name, each in found.items()}
    return images, [remark] if remark else []


def _check_several(folder: Path, classes: Mapping[str, Sequence[Path]]) -> None:
    if len(classes) < 2:
        held = f"one, {some(classes)}" if classes else "none"
        raise UserError(
            f"{folder}: must hold a folder for each of two or more classes; "
            f"holds {held}."
        )
