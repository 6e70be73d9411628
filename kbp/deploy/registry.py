"""Places that models are deployed to, by name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from kbp._utils.registry import Registry
from kbp.deploy.deployable import Deployable

# What a folder is to hold, by the paths of files in it.
Contents = Mapping[str, bytes | str]
Target = Callable[[Deployable], Contents]
Kind = TypeVar("Kind", bound=Target)

TARGETS: Registry[Target] = Registry("target", "kbp.deploy.targets")
TEMPLATES = Path(__file__).parent / "templates"


def register_target(name: str) -> Callable[[Kind], Kind]:
    """Register a function that makes a folder of a model.

    Args:
        name: of the target.

    Returns:
        A decorator for `make(model) -> contents`, see `Contents`.

    Raises:
        UserError: another target has that name.

    Example:
    >>> from kbp.deploy.registry import TARGETS, register_target
    >>> @register_target("bare")
    ... def bare(model):
    ...     return {"model.tflite": model.content}
    >>> "bare" in TARGETS
    True
    """

    def register(make: Kind) -> Kind:
        TARGETS.add(name, make)
        return make

    return register


def template(name: str) -> str:
    """Return the text of a file in `kbp/deploy/templates`."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def filled(name: str, /, **words: object) -> str:
    """Return a template in which each `@word@` is replaced.

    Args:
        name: see `template`.
        **words: what stands for each.
    """
    text = template(name)
    for word, meaning in words.items():
        text = text.replace(f"@{word}@", str(meaning))
    return text
