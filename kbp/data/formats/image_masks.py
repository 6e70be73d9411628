"""Images and the masks that belong to them, from two folders."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from kbp.data import splitting
from kbp.data.splits import Examples, Splits
from kbp.data.splitting import some
from kbp.data.tiles import cut
from kbp.errors import UserError

SUFFIXES = (".jpeg", ".jpg", ".png", ".tif", ".tiff")
_LITTER = ("desktop.ini", "thumbs.db")  # which file managers leave
_MASK_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16", "I;16B")
_IMAGE_MODES = (*_MASK_MODES, "PA", "CMYK", "YCbCr")


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
) -> Splits:
    """Load pairs of files that have the same name, suffixes aside.

    Subfolders are searched too; their names are part of an example's.

    Args:
        images: folder of PNG, JPEG or TIFF files, see `image_files`.
        masks: folder of grey or indexed images of the same size.
        split: `split(names) -> indices`, see `kbp.data.splitting`.
        channels: 1 to read images as grey, 3 as color.
        class_names: in the order of the classes.
        mask_values: value of each class in the masks' files. By default 0, 1,
            2, ...; or 0 and 255 if there are two classes and no value is 1.
        tile_size: cut each image into tiles of so many pixels each way, in its
            split; without it all must be of one size.
        count: how many pairs there must be; by default any number.

    Returns:
        Images or tiles `(examples, height, width, channels)` in [0, 1] with
        labels `(examples, height, width)`.

    Raises:
        UserError: `class_names` and `mask_values` do not fit, a folder is
            missing or empty or holds other files, there are more or fewer pairs
            than `count`, a file has no partner or cannot be read, a mask has
            another size than its image or a value that is no class's, images
            differ in size, a split for training or test is empty, or a class
            does not occur in the former.
    """
    _check_classes(class_names, mask_values)
    pairs = find_pairs(Path(images), Path(masks))
    if count not in (None, len(pairs)):
        raise UserError(f"{images}: holds {len(pairs)} images, not {count}.")
    indices = split(list(pairs))
    for name in ("train", "test"):
        if not indices[name]:
            raise UserError(f"{images}: no image is in the {name} split.")
    paths = list(pairs.values())
    inputs = [read_image(image, channels) for image, _ in paths]
    labels = [read_mask(mask) for _, mask in paths]
    _check_sizes(paths, inputs, labels, tile_size)
    values = mask_values or _usual_values(labels, len(class_names))
    labels = [
        _classes(label, values, mask)
        for label, (_, mask) in zip(labels, paths, strict=True)
    ]
    parts = {
        name: Examples(
            _stack(inputs, chosen, tile_size), _stack(labels, chosen, tile_size)
        )
        for name, chosen in indices.items()
    }
    _check_taught(masks, parts["train"].labels, class_names)
    return Splits(**parts, class_names=tuple(class_names))


def image_files(folder: Path) -> list[Path]:
    """Return the images of a folder and of its subfolders, in order.

    Hidden files, and what file managers leave, are passed over.

    Raises:
        UserError: the folder is missing, holds files of other suffixes than
            `SUFFIXES`, or no image.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder.")
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() and not _is_litter(path.relative_to(folder))
    ]
    others = [
        path.relative_to(folder).as_posix()
        for path in files
        if path.suffix.lower() not in SUFFIXES
    ]
    if others or not files:
        held = "no image"
        if others:
            held = f"files of other kinds: {some(others)}"
        raise UserError(
            f"{folder}: holds {held}. Known suffixes are {', '.join(SUFFIXES)}."
        )
    return files


def find_pairs(images: Path, masks: Path) -> dict[str, tuple[Path, Path]]:
    """Return the files of two folders that have the same name, by name.

    Raises:
        UserError: a folder is wrong, see `image_files`; two files of one have
            the same name, or one has no partner.
    """
    found = {folder: _files(folder) for folder in (images, masks)}
    for folder, other in ((images, masks), (masks, images)):
        alone = found[folder].keys() - found[other].keys()
        if alone:
            raise UserError(f"{other}: has no partner of {some(alone)}.")
    return {
        name: (path, found[masks][name])
        for name, path in sorted(found[images].items())
    }


def read_image(path: Path, channels: int) -> np.ndarray:
    """Read an image as floats in [0, 1], `(height, width, channels)`.

    Eight and sixteen bits count from black to white. It is turned as its EXIF
    data say, and may have up to Pillow's limit of about 179 million pixels.

    Raises:
        UserError: the file cannot be read, has several pages, or holds floats
            or what 16 bits cannot.
    """
    image = _open(path, _IMAGE_MODES)
    if image.mode.startswith("I"):
        values = np.asarray(image)[..., None]
        low, high = values.min(), values.max()
        if low < 0 or high > 65535:
            raise UserError(
                f"{path}: holds values from {low} to {high}, whose white is "
                "not known; save it with 8 or 16 bits."
            )
        return np.repeat(values.astype("float32") / 65535, channels, axis=-1)
    values = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return values.reshape(*values.shape[:2], channels).astype("float32") / 255


def read_mask(path: Path) -> np.ndarray:
    """Read a mask's values or indices as integers, `(height, width)`.

    It may be grey that was saved as color, or with an opacity that is the same
    everywhere; and it is turned as its EXIF data say.

    Raises:
        UserError: the file cannot be read, has several pages, or holds floats,
            colors, or a shape in its opacity.
    """
    image = _open(path, _MASK_MODES)
    bands = np.atleast_3d(np.asarray(image))  # (height, width, bands)
    if image.mode.endswith("A"):
        bands, opacity = bands[..., :-1], bands[..., -1]
        if np.ptp(opacity):
            raise UserError(
                f"{path}: has its shape in the opacity; save it as grey values "
                "or indices."
            )
    if (bands != bands[..., :1]).any():
        raise UserError(
            f"{path}: is of color; save it as grey values or indices."
        )
    return bands[..., 0].astype(np.int32)


def _check_classes(names, values):
    if len(names) < 2:
        raise UserError(
            f"class_names must be two or more; received {list(names)}"
        )
    if values and not len(names) == len(values) == len({*values}):
        raise UserError(
            "mask_values must be another one for each of class_names, "
            f"{list(names)}; received {list(values)}"
        )


def _check_taught(masks, labels, class_names):
    absent = [
        name
        for index, name in enumerate(class_names)
        if not (labels == index).any()
    ]
    if absent:
        raise UserError(
            f"{masks}: no mask of the train split holds {some(absent)}, so "
            "nothing could be learned about that."
        )


def _is_litter(path):
    hidden = any(part.startswith(".") for part in path.parts)
    return hidden or path.name.lower() in _LITTER


def _files(folder):
    found = {}
    for path in image_files(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise UserError(
                f"{folder}: has two files of one name: {found[name].name}, "
                f"{path.name}."
            )
        found[name] = path
    return found


def _open(path, modes):
    large = Image.DecompressionBombWarning
    try:
        with (
            warnings.catch_warnings(action="ignore", category=large),
            # Given a path, Pillow garbles TIFF files that are to be turned.
            path.open("rb") as file,
            Image.open(file) as image,
        ):
            pages = getattr(image, "n_frames", 1)
            image = ImageOps.exif_transpose(image)
    except Exception as error:  # decoders raise any for a broken file
        raise UserError(f"{path}: cannot be read: {error}") from error
    if pages > 1:
        raise UserError(f"{path}: has {pages} pages; save each as a file.")
    if image.mode not in modes:
        held = "floats" if image.mode == "F" else f"{image.mode} colors"
        raise UserError(f"{path}: holds {held}; save it in grey or RGB.")
    return image


def _check_sizes(paths, inputs, labels, tile_size):
    for (image, mask), x, y in zip(paths, inputs, labels, strict=True):
        if x.shape[:2] != y.shape:
            raise UserError(
                f"{mask}: is of {_size(y)} pixels, but {image} of {_size(x)}."
            )
        if x.shape != inputs[0].shape and not tile_size:
            raise UserError(
                f"{image}: is of {_size(x)} pixels, but {paths[0][0]} of "
                f"{_size(inputs[0])}. Set data.tile_size to mix them."
            )


def _stack(arrays, chosen, tile_size):
    """Return some arrays, or their tiles, as one."""

    def part(array):
        return array[None] if tile_size is None else cut(array, tile_size)

    none = part(arrays[0])[:0]
    return np.concatenate([none, *(part(arrays[index]) for index in chosen)])


def _size(array):
    return f"{array.shape[0]}x{array.shape[1]}"


def _usual_values(labels, count):
    values = np.unique([v for label in labels for v in np.unique(label)])
    return (0, 255) if count == 2 and 1 not in values else tuple(range(count))


def _classes(label, values, path):
    unknown = np.setdiff1d(label, values)
    if unknown.size:
        advice = "others are given as mask_values"
        if path.suffix.lower() in (".jpeg", ".jpg"):
            advice += "; JPEG blurs values, so save masks as PNG"
        raise UserError(
            f"{path}: has values {some(unknown.tolist())}, which are no "
            f"class's. Known are {', '.join(map(str, values))}; {advice}."
        )
    classes = np.zeros(label.shape, "int32")
    for index, value in enumerate(values):
        classes[label == value] = index
    return classes
