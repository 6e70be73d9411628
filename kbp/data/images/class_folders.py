"""A folder for each class, perhaps within folders of splits."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kbp._utils.config import check_unused
from kbp.data.images.groups import check_apart, groups_of
from kbp.data.images.paths import Paths
from kbp.data.images.search import (
    IMAGE_FILES,
    FileKind,
    Found,
    find_files,
    is_litter,
    said_of_kinds,
)
from kbp.data.splits import Examples
from kbp.data.splitting import SPLITS, Indices, by_class, some
from kbp.errors import UserError, looked_for

_LIKE_SPLITS = (
    "train",
    "training",
    "val",
    "valid",
    "validation",
    "test",
    "testing",
)


def is_split(folder: Path) -> bool:
    """Say whether a folder holds folders of splits, which hold the classes'."""
    return (folder / "train").is_dir()


def named_folder(config: Any) -> Path:
    """Return the folder that a section `[data]` names.

    Args:
        config: its dataclass, with `folder` and the fractions of the splits.

    Raises:
        UserError: there is none, or the fractions change nothing.
    """
    if not config.folder:
        raise UserError("data.folder must name a folder")
    folder = Path(config.folder)
    if is_split(folder):
        reason = f"{folder} is split into folders"
        check_unused(
            "data", config, reason, "validation_fraction", "test_fraction"
        )
    return folder


class ClassFolders:
    """The files of a folder for each class, which is their label.

    Args:
        folder: holds the folders of the classes, or `train`, `test` and perhaps
            `validation`, which hold them. Their own subfolders are searched.
        kind: of the files.

    Attributes:
        class_names: in alphabetical order.
        paths: of all files.
        names: of the same, from the folder on.
        remarks: sentences about what was passed over.
        strange: a sentence about files of other kinds; `""` if there are none.

    Raises:
        UserError: a folder is missing or empty, there are fewer than two
            classes, or one is not in every split.
    """

    def __init__(self, folder: Path, kind: FileKind = IMAGE_FILES):
        strange: list[Path] = []
        found, self.remarks = _find(folder, strange, kind)
        self.folder, self.class_names = folder, tuple(found["train"])
        self.paths, self._labels, self._places = _listed(found)
        self.names = [
            path.relative_to(folder).as_posix() for path in self.paths
        ]
        self.strange = said_of_kinds(folder, strange, kind) if strange else ""

    def places(
        self,
        validation_fraction: float,
        test_fraction: float,
        group_pattern: str = "",
    ) -> Indices:
        """Return the numbers of each split's files.

        Args:
            validation_fraction: of each class, without folders of splits.
            test_fraction: likewise.
            group_pattern: see `groups_of`; files of a group stay together.

        Raises:
            UserError: a class has too few files, a name does not match, or a
                group is in two splits.
        """
        paths, folder = self.paths, self.folder
        groups = None
        if group_pattern:
            groups = groups_of([path.name for path in paths], group_pattern)
        if is_split(folder):
            if groups:
                check_apart(folder, groups, self._places)
            return self._places
        try:
            return by_class(
                self.names,
                self._labels,
                groups=groups,
                validation_fraction=validation_fraction,
                test_fraction=test_fraction,
            )
        except UserError as error:
            raise UserError(f"{folder}: {error}") from error

    def parts(
        self, places: Indices, inputs: Mapping[str, Any]
    ) -> dict[str, Examples]:
        """Return the examples of each split.

        Args:
            places: of `places`.
            inputs: of each split, in the order of its places.
        """
        order = {name: index for index, name in enumerate(self.class_names)}
        return {
            split: Examples(
                inputs[split],
                np.array([order[self._labels[i]] for i in chosen], "int64"),
                tuple(self.names[i] for i in chosen),
            )
            for split, chosen in places.items()
        }


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


def _find(
    folder: Path, strange: list[Path], kind: FileKind
) -> tuple[dict[str, dict[str, Paths]], list[str]]:
    """Return files by class, by split, and remarks about what is passed over.

    Without splits all are in "train". `strange` gets files of other kinds.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder{looked_for(folder)}.")
    if not is_split(folder):
        _check_names(folder)
        classes, remarks = _classes(folder, strange, kind)
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
        found[name], own = _classes(folders[name], strange, kind)
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
    folder: Path, strange: list[Path], kind: FileKind
) -> tuple[dict[str, Paths], list[str]]:
    """Return files by class, and remarks about what else is there."""
    folders = _folders(folder)
    places = [path.resolve() for path in folders]
    found = {
        path.name: find_files(
            path, places[:index] + places[index + 1 :], strange, kind
        )
        for index, path in enumerate(folders)
    }
    others, links = (
        [path for each in found.values() for path in getattr(each, what)]
        for what in ("others", "links")
    )
    remark = Found(Paths([]), others, links, kind).remark(folder)
    files = {name: each.files for name, each in found.items()}
    return files, [remark] if remark else []


def _check_several(folder: Path, classes: Mapping[str, Sequence[Path]]) -> None:
    if len(classes) < 2:
        held = f"one, {some(classes)}" if classes else "none"
        raise UserError(
            f"{folder}: must hold a folder for each of two or more classes; "
            f"holds {held}."
        )
