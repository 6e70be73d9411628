"""Disks that fail: at a moment, with an error of one's choice."""

import errno
import os
from pathlib import Path

ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES),
    *(errno.EIO, errno.ENAMETOOLONG, errno.EFBIG),
)


class Killed(BaseException):
    """What stands for `kill -9`: nothing else is done."""


class Disk:
    """Fails at a moment of what is written below a folder.

    Args:
        folder: whose files the disk holds.
        moment: system calls until then; a write fails in its middle.
        error: its number, or `Killed`.
    """

    CALLS = ("open", "write", "fsync", "replace", "rename", "mkdir")

    def __init__(self, folder, moment, error, monkeypatch):
        self.folder, self.left, self.error = str(folder), moment, error
        self.failed, self.at, self.ours = False, "", set()
        self.real = {name: getattr(os, name) for name in self.CALLS}
        for name in self.CALLS:
            call = getattr(self, name, None) or self.on_path(name)
            monkeypatch.setattr(os, name, call)
        unlink = Path.unlink
        monkeypatch.setattr(
            Path,
            "unlink",
            lambda path, **k: None if self.dead else unlink(path, **k),
        )

    @property
    def dead(self):
        return self.failed and self.error is Killed

    def here(self, path):
        return isinstance(path, str | Path) and str(path).startswith(
            self.folder
        )

    def fail(self, name):
        self.left -= 1
        if self.left == -1 or (self.left < 0 and self.dead):
            self.failed, self.at = True, name
            if self.error is Killed:
                raise Killed
            raise OSError(self.error, os.strerror(self.error))

    def on_path(self, name):
        real = self.real[name]

        def call(path, *arguments, **options):
            there = name == "mkdir" and os.path.isdir(path)
            if there or not self.here(path):
                return real(path, *arguments, **options)
            # The disk may have done it before the process dies.
            if self.left == 0 and self.error is Killed:
                real(path, *arguments, **options)
            self.fail(name)
            return real(path, *arguments, **options)

        return call

    def open(self, path, flags, *arguments, **options):
        real = self.real["open"]
        if not self.here(path) or not flags & (os.O_WRONLY | os.O_RDWR):
            made = real(path, flags, *arguments, **options)
            if self.here(path):
                self.ours.add(made)
            return made
        self.fail("open")
        made = real(path, flags, *arguments, **options)
        self.ours.add(made)
        return made

    def write(self, descriptor, data):
        if descriptor in self.ours:
            if self.left == 0:
                self.real["write"](descriptor, data[: len(data) // 2])
            self.fail("write")
        return self.real["write"](descriptor, data)

    def fsync(self, descriptor):
        if descriptor in self.ours:
            self.fail("fsync")
        return self.real["fsync"](descriptor)
