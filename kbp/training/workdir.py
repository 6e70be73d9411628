"""The work directory of a run: who may write there, and what it records."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any, Self

from kbp._utils.files import (
    copy,
    is_unfinished,
    make_folder,
    remove_unfinished,
    write_atomically,
)
from kbp._utils.machine import commit, machine, versions
from kbp._utils.manifest import compare, digests
from kbp._utils.process.disk_errors import cannot_write
from kbp._utils.process.lock import lock
from kbp._utils.run_files import RECIPE
from kbp.errors import Terminated, UserError
from kbp.recipes.recipe import Recipe

RUN_FILE = "run.json"
_LOCK = ".lock"
# What a finished run needs no more, or writes as it ends.
_UNLISTED = (RUN_FILE, "checkpoints", "logs")
# Keys of recipes that change no number, so a run may go on with others.
_OF_NO_MATTER = ("data.cache",)


class WorkDir:
    """The work directory of a run.

    Its `run.json` records which recipe the run follows and whether it has
    finished. Files of a finished run are never written again. As a context
    manager it claims the folder for this process, and marks the run as finished
    if `finished` was set.

    Args:
        path: path of the folder, which need not exist.
        recipe: recipe of the run.
        resume: whether a run in the folder is continued or shown.

    Attributes:
        run: the content of `run.json`.
        found: whether the folder held a run when it was opened.
        finished: whether the folder holds a finished run of this recipe.

    Raises:
        UserError: the folder belongs to something else, holds a run and
            `resume` is false, or holds a run of another recipe.
    """

    def __init__(self, path: str | Path, recipe: Recipe, *, resume: bool):
        self.path = Path(path)
        self.recipe = recipe
        self.finished = False
        found = read_run(self.path)
        self.found = found is not None
        self.run: dict[str, Any] = found or {}
        if self.found:
            self._check_run(resume)
            self.finished = self.run["status"] == "finished"
        else:
            check_free(self.path, "work directory")
        if not self.finished:
            _check_links(self.path)
            if (self.path / _LOCK).exists():
                self._lock().close()  # that it can be had is known at once

    def _check_run(self, resume: bool) -> None:
        changed = _changes(self.run["recipe"], self.recipe)
        if changed:
            raise UserError(
                f"{self.path}: holds a run of another recipe; different: "
                f"{'; '.join(changed)}. Choose another `workdir=`, or go on "
                f"{self._same()}."
            )
        if not resume:
            raise UserError(
                f"{self.path}: holds a run that is {self.run['status']}. Give "
                "`resume=True` to continue or show it, or another `workdir=`."
            )

    def _same(self) -> str:
        """Say with what the run in the folder goes on."""
        if self.recipe.model.architecture == "own_model":
            return (
                "with the same model: set a seed before it is built, or load it"
            )
        return f"with {self.path / RECIPE}"

    def __enter__(self) -> Self:
        """Claim the folder for this run and this process."""
        self.lock_file = self._lock()
        try:
            self._claim()
        except BaseException:
            self.lock_file.close()
            raise
        return self

    def _claim(self) -> None:
        """Make the folder this run's, once it is locked."""
        _check_links(self.path)
        now = read_run(self.path)
        if (now and now["status"]) != self.run.get("status"):
            raise UserError(
                f"{self.path}: another process has been running there "
                "meanwhile. Call it again with `resume=True`, or choose "
                "another `workdir=`."
            )
        self.run = now or {}
        for folder in (self.path, self.path / "checkpoints"):
            remove_unfinished(folder)
        if self.found:
            self.run["resumed"] = True
        else:
            self.run = {
                "status": "unfinished",
                "resumed": False,
                "slower": {},  # stages whose learning rate was lowered
                "recipe": self.recipe.to_dict(),
                "versions": versions(),
                "commit": commit(),
                "machine": machine(),
            }
        self.save_run()  # first: from now on the folder is this run's
        write_atomically(self.path / RECIPE, self.recipe.to_toml())

    def __exit__(self, *error: object) -> None:
        with self.lock_file:
            if self.finished:
                self.run["status"] = "finished"
                self.run["files"] = digests(self.path, without=_UNLISTED)
                self.save_run()

    def _lock(self) -> FileIO:
        try:
            make_folder(self.path)
            _check_lock(self.path)
            return lock(self.path / _LOCK, self.path)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def lost(self) -> list[str]:
        """Return the names of a finished run's files that are missing.

        Raises:
            UserError: there are files that have changed since it finished.
        """
        missing, changed = compare(self.path, self.run.get("files", {}))
        if changed:
            raise UserError(
                f"{self.path}: {', '.join(changed)}: changed since the run "
                "finished. Bring back what was there, or move it away and "
                "resume to have it made again."
            )
        return missing

    def bring_back(self, names: list[str], source: Path) -> list[str]:
        """Copy missing files that a folder holds with the same bytes.

        Args:
            names: of the files.
            source: the folder.

        Returns:
            The names of those that are still missing.
        """
        wanted = {name: self.run["files"][name] for name in names}
        left = [name for found in compare(source, wanted) for name in found]
        with self._lock():
            _check_links(self.path)
            for name in names:
                if name not in left and not (self.path / name).exists():
                    copy(source / name, self.path / name)
        return left

    def check_space(self, needed: int) -> None:
        """Raise a UserError if the disk has less than so many bytes left."""
        place = self.path.absolute()
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free
        if free < needed:
            raise UserError(
                f"{self.path}: the disk has {free / 1e6:,.0f} MB left, and the "
                f"run needs some {needed / 1e6:,.0f} MB."
            )

    def save_run(self) -> None:
        """Write `run.json`."""
        content = json.dumps(self.run, indent=2) + "\n"
        write_atomically(self.path / RUN_FILE, content)


@contextlib.contextmanager
def resumable(path: str | Path, *, resume: bool) -> Iterator[None]:
    """Say how to go on with a run that a person interrupts.

    Args:
        path: of the run's folder.
        resume: whether the call that runs in this context would continue it.

    Raises:
        KeyboardInterrupt: the run was interrupted.
    """
    try:
        yield
    except (KeyboardInterrupt, Terminated) as error:
        how = "" if resume else " and `resume=True`"
        # Where TensorFlow was when it came, helps nobody.
        raise type(error)(
            f"{path}: stopped. Call it again with the same `workdir=`{how}, to "
            "go on from the last checkpoint."
        ) from None


def check_free(path: Path, purpose: str) -> None:
    """Raise a UserError if a folder holds files that are not of kbp."""
    if path.exists() and (
        not path.is_dir()
        or any(
            # A run that was killed as it began leaves such files.
            entry.name != _LOCK and not is_unfinished(entry)
            for entry in path.iterdir()
        )
    ):
        raise UserError(
            f"{path}: not empty and no {purpose} of kbp. Choose another "
            "`workdir=`."
        )
    _check_lock(path)


def _check_links(path: Path) -> None:
    """Raise a UserError if a run would write or delete by way of a link."""
    found = [
        link
        for folder in ("", "checkpoints", "logs", "logs/*")
        for link in sorted(path.glob(f"{folder}/*" if folder else "*"))
        if link.is_symlink()
    ]
    if found:
        raise UserError(
            f"{found[0]}: a link, so what is written would lie elsewhere. Put "
            "what it leads to in its place; the whole `workdir=` may be a link."
        )


def _check_lock(path: Path) -> None:
    """Raise a UserError if a folder's `.lock` is none of kbp's, all empty."""
    lock = path / _LOCK
    if lock.is_symlink() or (
        lock.exists() and (not lock.is_file() or lock.stat().st_size)
    ):
        raise UserError(
            f"{lock}: a link, or not empty, so it is none of kbp's. Choose "
            "another `workdir=`."
        )


def possible(folder: str | Path) -> Path:
    """Return a folder's path, or raise a UserError if none can have it."""
    path, reason = Path(folder), ""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        reason = str(error.strerror)
    except ValueError as error:  # a NUL byte
        reason = str(error)
    if reason:
        name = str(path)
        shown = name if len(name) <= 60 else f"{name[:60]}..."
        raise UserError(f"`workdir` {shown!r} cannot be a folder: {reason}.")
    return path


def folder_for(path: Path, recipe: Recipe) -> Path:
    """Return the folder for a run that was given none.

    It is the path, or where others' runs are, the path with the first number
    that is free or holds a run of the same recipe.
    """
    folder, number = path, 1
    while (run := read_run(folder)) and _changes(run["recipe"], recipe):
        number += 1
        folder = path.with_name(f"{path.name}-{number}")
    return folder


def read_run(path: Path) -> dict[str, Any] | None:
    """Return the content of a folder's `run.json`, or `None` without one.

    Raises:
        UserError: the file is no record of a run.
    """
    file = Path(path) / RUN_FILE
    if not file.is_file():
        return None
    try:
        run = json.loads(file.read_text())
        Recipe.parse(run["recipe"])
        if run["status"] in ("unfinished", "finished"):
            return run
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: not a run of kbp: {error}") from error
    raise UserError(f"{file}: not a run of kbp: unknown status")


def _changes(old: dict[str, Any], recipe: Recipe) -> list[str]:
    """Return each key that another value makes a run another one, in words."""
    new = json.loads(json.dumps(recipe.to_dict()))
    found = []
    for section, values in {**old, **new}.items():
        there, here = old.get(section, {}), new.get(section, {})
        for key in {**there, **values}:
            name = f"{section}.{key}"
            if there.get(key) != here.get(key) and name not in _OF_NO_MATTER:
                words = (
                    f"{json.dumps(x[key]) if key in x else 'nothing'} {where}"
                    for x, where in ((there, "there"), (here, "here"))
                )
                found.append(f"{name}, {', '.join(words)}")
    return found
