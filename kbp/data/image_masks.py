"""Images and the masks that belong to them, from two folders."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from kbp.data import splitting
from kbp.data.splits import Examples, Splits
from kbp.data.splitting import some
from kbp.data.tiles import cut
from kbp.errors import UserError

SUFFIXES = (".jpeg", ".jpg", ".png", ".tif", ".tiff")


def load(
    images: str | Path,
    masks: str | Path,
    *,
    split: Callable[[Sequence[str]], splitting.Indices],
    channels: int = 1,
    class_names: Sequence[str] = ("background", "foreground"),
    mask_values: Sequence[int] | None = None,
    tile_size: int | None = None,
) -> Splits:
    """Load pairs of files that have the same name, suffixes aside.

    Subfolders are searched too; their names are part of an example's.

    Args:
        images: folder of PNG, JPEG or TIFF files.
        masks: folder of grey or indexed images of the same size.
        split: `split(names) -> indices`, see `kbp.data.splitting`.
        channels: 1 to read images as grey, 3 as color.
        class_names: in the order of the classes.
        mask_values: value of each class in the masks' files. By default 0, 1,
            2, ...; or 0 and 255 if there are two classes and no value is 1.
        tile_size: cut each image into tiles of so many pixels each way, in its
            split; without it all must be of one size.

    Returns:
        Images or tiles `(examples, height, width, channels)` in [0, 1] with
        labels `(examples, height, width)`.

    Raises:
        UserError: a folder is missing or empty, a file has no partner or
            cannot be read, a mask has another size than its image or a value
            that is no class's, images differ in size, or a split for training
            or test is empty.
    """
    pairs = find_pairs(Path(images), Path(masks))
    inputs = [read_image(image, channels) for image, _ in pairs.values()]
    labels = [read_mask(mask) for _, mask in pairs.values()]
    paths = list(pairs.values())
    _check_sizes(paths, inputs, labels, tile_size)
    values = mask_values or _usual_values(labels, len(class_names))
    labels = [
        _classes(label, values, mask)
        for label, (_, mask) in zip(labels, paths, strict=True)
    ]
    indices = split(list(pairs))
    for name in ("train", "test"):
        if not indices[name]:
            raise UserError(f"{images}: no image is in the {name} split.")
    return Splits(
        **{
            name: Examples(
                _stack(inputs, chosen, tile_size),
                _stack(labels, chosen, tile_size),
            )
            for name, chosen in indices.items()
        },
        class_names=tuple(class_names),
    )


def find_pairs(images: Path, masks: Path) -> dict[str, tuple[Path, Path]]:
    """Return the files of two folders that have the same name, by name.

    Raises:
        UserError: a folder is missing or empty, two files of one folder have
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

    Eight and sixteen bits count from black to white.

    Raises:
        UserError: the file cannot be read, or has several pages or floats.
    """
    image = _open(path)
    if image.mode.startswith("I"):
        values = np.asarray(image).astype("float32") / 65535
        grey = values[..., None]
        return grey if channels == 1 else np.repeat(grey, 3, axis=-1)
    if image.mode == "F":
        raise UserError(f"{path}: holds floats, whose white is not known.")
    values = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return values.reshape(*values.shape[:2], channels).astype("float32") / 255


def read_mask(path: Path) -> np.ndarray:
    """Read a mask's values or indices as integers, `(height, width)`.

    Raises:
        UserError: the file cannot be read, has several pages, or is of color.
    """
    values = np.asarray(_open(path))
    if values.ndim == 3:
        # Grey that was saved as color; the last of two or four is opacity.
        colors = values[..., : 3 if values.shape[-1] > 2 else 1]
        if (colors != colors[..., :1]).any():
            raise UserError(
                f"{path}: is of color; save it as grey values or indices."
            )
        values = colors[..., 0]
    if np.issubdtype(values.dtype, np.floating):
        raise UserError(f"{path}: holds floats, which are no classes.")
    return values.astype(np.int32)


def _files(folder):
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder.")
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                raise UserError(
                    f"{folder}: has two files of one name: "
                    f"{found[name].name}, {path.name}."
                )
            found[name] = path
    if not found:
        raise UserError(
            f"{folder}: holds no image. Known are {', '.join(SUFFIXES)}."
        )
    return found


def _open(path):
    try:
        with Image.open(path) as image:
            pages = getattr(image, "n_frames", 1)
            image.load()
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if pages > 1:
        raise UserError(f"{path}: has {pages} pages; save each as a file.")
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
                f"{_size(inputs[0])}. Give a tile size to mix them."
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
        raise UserError(
            f"{path}: has values {some(map(str, unknown.tolist()))}, which are "
            f"no class's. Known are {', '.join(map(str, values))}."
        )
    classes = np.zeros(label.shape, "int32")
    for index, value in enumerate(values):
        classes[label == value] = index
    return classes
