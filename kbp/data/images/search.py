"""Image files in folders."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kbp.data.images.paths import Paths
from kbp.data.splitting import some
from kbp.errors import UserError, unexpanded

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
        links: to folders that are not followed, see `find_images`.
    """

    images: Paths
    others: list[Path]
    links: list[Path]

    def remark(self, folder: Path) -> str:
        """Say what was passed over; `""` if nothing was."""
        others, links = (
            some(path.relative_to(folder).as_posix() for path in paths)
            for paths in (self.others, self.links)
        )
        said = [f"what is no image: {others}"] if others else []
        if links:
            count = len(self.links)
            word = "link" if count == 1 else "links"
            said.append(
                f"{count} {word} to a folder above or another class's: {links}"
            )
        return f"{folder}: passed over {'; and '.join(said)}." if said else ""


def find_images(
    folder: Path,
    apart: Iterable[Path] = (),
    strange: list[Path] | None = None,
) -> Found:
    """Return the images of a folder and of its subfolders, in order.

    Links are followed, to each folder once; but none to a folder above it, nor
    to one that is, or lies in, or holds one of those `apart`.

    Args:
        folder: to look in.
        apart: folders whose images are no part of it, as of other classes.
        strange: a list that gets images of other suffixes than `SUFFIXES`,
            which are refused without it.

    Raises:
        UserError: the folder is missing, holds images of other suffixes, or no
            image; or a link leads nowhere.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder{unexpanded(folder)}.")
    images: list[str] = []
    others: list[Path] = []
    passed: list[Path] = []
    links: list[Path] = []
    place = folder.resolve()
    barred = [place.parent, *(path.resolve() for path in apart)]
    # As text, which takes less memory; in the order of paths.
    names = map(str, _walk(folder, {place}, barred, links))
    for name in sorted(names, key=lambda name: name.split(os.sep)):
        path = Path(name)
        suffix = path.suffix.lower()
        if suffix in SUFFIXES:
            images.append(name)
        elif suffix in _STRANGE:
            others.append(path)
        else:
            passed.append(path)
    if strange is not None:
        strange += others
    elif others:
        raise UserError(said_of_kinds(folder, others))
    if not images and not others:
        raise UserError(f"{folder}: holds no image. {_KNOWN}")
    return Found(Paths(images), passed, links)


def holds_images(folder: Path) -> bool:
    """Say whether a folder or one below it holds an image file."""
    return any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))


def said_of_kinds(folder: Path, strange: Sequence[Path]) -> str:
    """Say that a folder holds images of other kinds, and which are known."""
    names = some(path.relative_to(folder).as_posix() for path in strange)
    return f"{folder}: holds images of other kinds: {names}. {_KNOWN}"


def _walk(
    folder: Path, seen: set[Path], barred: list[Path], links: list[Path]
) -> Iterator[Path]:
    """Yield the files of a folder, and of folders in it that are not seen.

    Args:
        folder: to look in.
        seen: folders that were looked in, to which these are added.
        barred: the folder above, and those whose images are others'.
        links: gets the links that are not followed.
    """
    for path in folder.iterdir():
        if is_litter(Path(path.name)):
            continue
        if not path.is_dir():
            yield path
            continue
        place = path.resolve()
        if path.is_symlink() and _is_barred(place, barred):
            links.append(path)
        elif place not in seen:
            seen.add(place)
            yield from _walk(path, seen, barred, links)


def _is_barred(place: Path, barred: list[Path]) -> bool:
    """Say whether a folder holds a barred one, or lies in another's."""
    _, *apart = barred
    return any(each.is_relative_to(place) for each in barred) or any(
        place.is_relative_to(each) for each in apart
    )


def is_litter(path: Path) -> bool:
    """Say whether a file or folder is hidden, or what file managers leave."""
    hidden = any(part.startswith(".") for part in path.parts)
    return hidden or path.name.lower() in _LITTER
