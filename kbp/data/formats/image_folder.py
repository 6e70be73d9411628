"""Photographs in a folder for each class."""

from dataclasses import dataclass
from pathlib import Path

from kbp._utils.config import choice, number
from kbp.data import cache
from kbp.data.images.class_folders import ClassFolders, named_folder
from kbp.data.images.kinds import WHITE_LEVEL
from kbp.data.images.photographs import Photographs
from kbp.data.images.resizing import RESIZE, RESIZES
from kbp.data.images.wrong import refuse
from kbp.data.registry import register_dataset
from kbp.data.splits import Splits


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
    return load(
        named_folder(config),
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
    folders = ClassFolders(Path(folder))
    source = Photographs(
        folders.paths,
        (image_size, image_size),
        channels=channels,
        resize=resize,
        white_level=white_level,
    )
    if folders.strange:
        refuse([folders.strange], source.find_wrong())
    places = folders.places(validation_fraction, test_fraction, group_pattern)
    inputs, kept = source.hold(folders.folder, places, mode)
    parts = folders.parts(places, inputs)
    return Splits(
        parts["train"],
        parts["validation"],
        parts["test"],
        class_names=folders.class_names,
        remarks=(*folders.remarks, *kept.remarks, *kept.kinds.too_dark()),
        images=kept.kinds,
        kept=kept.said,
    )
