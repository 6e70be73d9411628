"""Folders of the Hugging Face hub."""

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kbp.errors import UserError

PREFIX = "hf://"
_NAME = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def is_name(name: str) -> bool:
    """Say whether a name is meant to be one of the hub.

    Example:
    >>> is_name("hf://user/network"), is_name("runs/network")
    (True, False)
    """
    return name.startswith(PREFIX)


@functools.cache
def fetch(name: str, files: tuple[str, ...], most_bytes: int) -> Path:
    """Download files of a repository, unless the hub's cache has them.

    Args:
        name: `hf://USER/REPOSITORY`, of its branch `main`; or
            `hf://USER/REPOSITORY@REVISION`, of a branch, a tag or a commit.
        files: names of those to take, if they are there.
        most_bytes: that a file may have.

    Returns:
        Their folder in the cache.

    Raises:
        UserError: the name is wrong, there is no such repository or it is out
            of reach, a file is too large, or huggingface_hub is missing.
    """
    found = _NAME.fullmatch(name)
    if not found:
        raise UserError(
            f"{name}: must be hf://USER/REPOSITORY, with @REVISION if need be"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UserError(
            f"{name}: needs huggingface_hub; install it by: "
            "pip install 'kbp[hub]'"
        ) from error
    repository, revision = found.groups()
    take: Callable[..., Any] = functools.partial(
        snapshot_download,
        repository,
        revision=revision,
        allow_patterns=[*files],
        endpoint=os.environ.get("HF_ENDPOINT"),
        cache_dir=os.environ.get("HF_HUB_CACHE"),
    )
    _check_sizes(name, take, most_bytes)
    try:
        return Path(take())
    except (OSError, ValueError) as error:
        words = [line for line in str(error).splitlines() if line.strip()]
        said = next((x for x in words if "Not Found" in x), words[0])
        raise UserError(f"{name}: {said}") from error


def _check_sizes(name: str, take: Callable[..., Any], most_bytes: int) -> None:
    """Refuse large files before they are downloaded."""
    try:
        files = take(dry_run=True)
    except (OSError, ValueError):
        return  # if that is not the network's fault, the download says so
    for file in files:
        if file.file_size > most_bytes:
            raise UserError(
                f"{name}: {file.filename} has {file.file_size} bytes, more "
                f"than {most_bytes}."
            )
