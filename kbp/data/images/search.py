"""Files of a kind in folders, such as images."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kbp.data.images.paths import Paths
from kbp.data.splitting import some
from kbp.errors import UserError, looked_for

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_STRANGE = (
    *(".arw", ".avif", ".cr2", ".cr3", ".dcm", ".dng", ".gif", ".heic"),
    *(".heif", ".jfif", ".jp2", ".jpe", ".jxl", ".nef", ".orf", ".pgm"),
    *(".pnm", ".ppm", ".psd", ".raw", ".svg", ".tga"),
)
_LITTER = ("desktop.ini", "thumbs.db")  # which file managers leave


class FileKind(NamedTuple):
    """What files a folder is searched for.

    Attributes:
        noun: of one.
        nouns: of several.
        suffixes: of those that are read.
        strange: suffixes of such files that are not.
    """

    noun: str
    nouns: str
    suffixes: tuple[str, ...]
    strange: tuple[str, ...]

    @property
    def known(self) -> str:
        """A sentence that names the suffixes."""
        return f"Known suffixes are {', '.join(self.suffixes)}."


IMAGE_FILES = FileKind("image", "images", SUFFIXES, _STRANGE)


class Found(NamedTuple):
    """What a folder and its subfolders hold.

    Attributes:
        files: of the kind, in order.
        others: what is passed over, but for hidden files and those of file
            managers.
        links: to folders that are not followed, see `find_files`.
        kind: what was searched for.
    """

    files: Paths
    others: list[Path]
    links: list[Path]
    kind: FileKind = IMAGE_FILES

    def remark(self, folder: Path) -> str:
        """Say what was passed over; `""` if nothing was."""
        others, links = (
            some(path.relative_to(folder).as_posix() for path in paths)
            for paths in (self.others, self.links)
        )
        noun = self.kind.noun
        said = [f"what is no {noun}: {others}"] if others else []
        if links:
            count = len(self.links)
            word = "link" if count == 1 else "links"
            said.append(
                f"{count} {word} to a folder above or another class's: {links}"
            )
        return f"{folder}: passed over {'; and '.join(said)}." if said else ""


def find_files(
    folder: Path,
    apart: Iterable[Path] = (),
    strange: list[Path] | None = None,
    kind: FileKind = IMAGE_FILES,
) -> Found:
    """Return the files of a folder and of its subfolders, in order.

    Links are followed, to each folder once; but none to a folder above it, nor
    to one that is, or lies in, or holds one of those `apart`.

    Args:
        folder: to look in.
        apart: folders whose files are no part of it, as of other classes;
            without links in their paths.
        strange: a list that gets the `strange` files of the kind, which are
            refused without it.
        kind: of the files.

    Raises:
        UserError: the folder is missing, holds strange files, or none of the
            kind; or a link leads nowhere.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder{looked_for(folder)}.")
    files: list[str] = []
    others: list[Path] = []
    passed: list[Path] = []
    links: list[Path] = []
    place = folder.resolve()
    barred = [place.parent, *apart]
    # As text, which takes less memory; in the order of paths.
    names = map(str, _walk(folder, {place}, barred, links))
    for name in sorted(names, key=lambda name: name.split(os.sep)):
        path = Path(name)
        suffix = path.suffix.lower()
        if suffix in kind.suffixes:
            files.append(name)
        elif suffix in kind.strange:
            others.append(path)
        else:
            passed.append(path)
    if strange is not None:
        strange += others
    elif others:
        raise UserError(said_of_kinds(folder, others, kind))
    if not files and not others:
        raise UserError(f"{folder}: holds no {kind.noun}. {kind.known}")
    return Found(Paths(files), passed, links, kind)


def holds_images(folder: Path) -> bool:
    """Say whether a folder or one below it holds an image file."""
    return any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))


def said_of_kinds(
    folder: Path, strange: Sequence[Path], kind: FileKind = IMAGE_FILES
) -> str:
    """Say that a folder holds strange files, and which are known."""
    names = some(path.relative_to(folder).as_posix() for path in strange)
    return f"{folder}: holds {kind.nouns} of other kinds: {names}. {kind.known}"


def _walk(
    folder: Path, seen: set[Path], barred: list[Path], links: list[Path]
) -> Iterator[Path]:
    """Yield the files of a folder, and of folders in it that are not seen.

    Args:
        folder: to look in.
        seen: folders that were looked in, to which these are added.
        barred: the folder above, and those whose files are others'.
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
