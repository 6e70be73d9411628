"""Image files in folders."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kbp.data.splitting import some
from kbp.errors import UserError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_STRANGE = (
    *(".arw", ".avif", ".cr2", ".cr3", ".dcm", ".dng", ".gif", ".heic"),
    *(".heif", ".jfif", ".jp2", ".jpe", ".jxl", ".nef", ".orf", ".pgm"),
    *(".pnm", ".ppm", ".psd", ".raw", ".svg", ".tga"),
)
_KNOWN = f"Known suffixes are {', '.join(SUFFIXES)}."
_LITTER = ("desktop.ini", "thumbs.db")  # which file managers leave


class Found(NamedTuple):
    """What a folder and its subfolders hold.

    Attributes:
        images: the image files, in order.
        others: what is passed over, but for hidden files and those of file
            managers.
    """

    images: list[Path]
    others: list[Path]

    def remark(self, folder: Path) -> str:
        """Say what was passed over; `""` if nothing was."""
        if not self.others:
            return ""
        names = [path.relative_to(folder).as_posix() for path in self.others]
        return f"{folder}: passed over what is no image: {some(names)}."


def find_images(folder: Path, strange: list[Path] | None = None) -> Found:
    """Return the images of a folder and of its subfolders, in order.

    Links are followed, to each folder once.

    Args:
        folder: to look in.
        strange: a list that gets images of other suffixes than `SUFFIXES`,
            which are refused without it.

    Raises:
        UserError: the folder is missing, holds images of other suffixes, or no
            image; or a link leads nowhere.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder.")
    found, others = Found([], []), []
    for path in sorted(_walk(folder, {folder.resolve()})):
        suffix = path.suffix.lower()
        if suffix in SUFFIXES:
            found.images.append(path)
        elif suffix in _STRANGE:
            others.append(path)
        else:
            found.others.append(path)
    if strange is not None:
        strange += others
    elif others:
        raise UserError(said_of_kinds(folder, others))
    if not found.images and not others:
        raise UserError(f"{folder}: holds no image. {_KNOWN}")
    return found


def said_of_kinds(folder: Path, strange: Sequence[Path]) -> str:
    """Say that a folder holds images of other kinds, and which are known."""
    names = some(path.relative_to(folder).as_posix() for path in strange)
    return f"{folder}: holds images of other kinds: {names}. {_KNOWN}"


def _walk(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """Yield the files of a folder, and of folders in it that are not seen."""
    for path in folder.iterdir():
        if is_litter(Path(path.name)):
            continue
        if not path.is_dir():
            yield path
            continue
        place = path.resolve()
        if place not in seen:
            seen.add(place)
            yield from _walk(path, seen)


def is_litter(path: Path) -> bool:
    """Say whether a file or folder is hidden, or what file managers leave."""
    hidden = any(part.startswith(".") for part in path.parts)
    return hidden or path.name.lower() in _LITTER
