"""The entries of the model zoo."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kbp import hub
from kbp._utils.files import write_together
from kbp._utils.run_files import (
    GOLDEN,
    INT8,
    LABELS,
    MODEL,
    PREDICTIONS,
    RECIPE,
)
from kbp.errors import UserError, nearest

# Keras and what needs it are imported where a model is opened: a list of the
# entries is to be there at once.
if TYPE_CHECKING:
    import keras

    from kbp.recipes import Recipe

__all__ = ["DEFAULT", "Entry", "entries", "file", "find", "load", "verify"]

DEFAULT = "pyramid_bpnet_small.digits"
FILES = (MODEL, INT8, GOLDEN, PREDICTIONS)
SUMS = "SHA256SUMS"
ELSEWHERE = (
    "The wheel holds the weights of entries up to 1 MB; those of all lie in "
    "`models` of kbp's source: let $KBP_ZOO name that folder."
)
LICENSE = "Apache-2.0"  # of the models, as of all that lies beside them
MOST_BYTES = 5_000_000  # of a file that lies here
MOST_ELSEWHERE = 500_000_000


@dataclass(frozen=True)
class Entry:
    """One entry of the zoo, `<architecture>_<size>.<data>`.

    Attributes:
        name: the entry's name.
        path: its folder.

    Example:
    >>> import kbp
    >>> entry = kbp.zoo.find("pyramid_bpnet_small.digits")
    >>> entry.data_set, entry.has_weights
    ('digits', True)
    """

    name: str
    path: Path

    @property
    def has_weights(self) -> bool:
        """Whether the entry's trained models lie in its folder.

        Those of more than 1 MB are not in the wheel.
        """
        try:
            names = _read_sums(self.path / SUMS)
        except (OSError, UserError):
            return False
        return all((self.path / name).is_file() for name in names)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the wheel left the entry's models out."""
        here = self.path.parent == root()
        return here and (self.path / SUMS).is_file() and not self.has_weights

    @property
    def most_bytes(self) -> int:
        """What a file of the entry may have."""
        here = self.path.parent == root()
        return MOST_BYTES if here else MOST_ELSEWHERE

    @property
    def recipe(self) -> "Recipe":
        """What the entry was trained with."""
        from kbp.recipes import Recipe

        return Recipe.read(self.path / RECIPE)

    @property
    def data_set(self) -> str:
        """Name of the data set that the entry was trained on."""
        from kbp.recipes.sections import DATA_SET

        return str(self._section("data").get("name", DATA_SET))

    @property
    def epochs(self) -> tuple[int, int]:
        """Epochs of training and of quantization-aware training."""
        from kbp.recipes.sections import QuantizationRecipe
        from kbp.recipes.training import TrainingRecipe

        training, rounding = map(self._section, ("training", "quantization"))
        return (
            training.get("epochs", TrainingRecipe.epochs),
            rounding.get("epochs", QuantizationRecipe.epochs),
        )

    def _section(self, name: str) -> dict[str, Any]:
        """Return what `recipe.toml` says in a section, unchecked."""
        from kbp.recipes import text

        values = text.read(self.path / RECIPE, lambda found: found.get(name))
        return values if isinstance(values, dict) else {}


def root() -> Path:
    """Return the folder of the zoo: the checkout's, or the wheel's.

    Example:
    >>> import kbp
    >>> kbp.zoo.DEFAULT in [path.name for path in kbp.zoo.root().iterdir()]
    True
    """
    package = Path(__file__).parent
    installed = package / "_zoo"
    return installed if installed.is_dir() else package.parent / "models"


def entries() -> list[Entry]:
    """List the entries of the zoo by name.

    The folders that `$KBP_ZOO` names, as `$PATH` names some, may hold more,
    and the weights of an entry that has none here.

    Raises:
        UserError: one of them is missing.

    Example:
    >>> import kbp.zoo
    >>> "pyramid_bpnet_small.digits" in [e.name for e in kbp.zoo.entries()]
    True
    """
    found: dict[str, Entry] = {}
    others = os.environ.get("KBP_ZOO", "").split(os.pathsep)
    for folder in (root(), *map(Path, filter(None, others))):
        if not folder.is_dir():
            raise UserError(f"$KBP_ZOO names {folder}, which is no folder")
        for path in folder.glob(f"*/{RECIPE}"):
            entry = Entry(path.parent.name, path.parent)
            known = found.get(entry.name)
            if not known or (entry.has_weights and not known.has_weights):
                found[entry.name] = entry
    return [found[name] for name in sorted(found)]


def find(name: str) -> Entry:
    """Return an entry by its name.

    Args:
        name: of an entry that `entries` lists, or of a repository of the
            Hugging Face hub with the same files, as `hf://USER/REPOSITORY` or
            `hf://USER/REPOSITORY@REVISION`; it is downloaded once.

    Raises:
        UserError: there is no such entry, or it is out of reach.

    Example:
    >>> import kbp
    >>> kbp.zoo.find("pyramid_bpnet_small.digit")
    Traceback (most recent call last):
    kbp.errors.UserError: unknown zoo entry ...; did you mean ...?
    """
    if hub.is_name(name):
        files = (RECIPE, SUMS, LABELS, *FILES)
        entry = Entry(name, hub.fetch(name, files, MOST_ELSEWHERE))
        for needed in (RECIPE, SUMS):
            if not (entry.path / needed).is_file():
                raise UserError(f"{name}: holds no {needed}, as entries do")
        return entry
    known = {entry.name: entry for entry in entries()}
    if name not in known:
        raise UserError(f"unknown zoo entry {name!r}{nearest(name, known)}")
    return known[name]


def load(name: str) -> "keras.Model":
    """Load an entry's trained model, after checking its file.

    Size, SHA-256 and what the file asks Keras to make are checked first; then
    Keras loads it in safe mode.

    Args:
        name: of the entry, see `find`.

    Returns:
        The float model as it was pruned, uncompiled.

    Raises:
        UserError: there is no such entry, it has no weights, or its file is not
            the one that was published.

    Example:
    >>> import kbp
    >>> kbp.zoo.load("pyramid_bpnet_tiny.digits").output_shape
    (None, 10)
    """
    from kbp.inference import safe

    most = find(name).most_bytes
    return safe.load(file(name, MODEL), most_bytes=most, entry=True)


def file(name: str, which: str = INT8) -> Path:
    """Return the path of one of an entry's files, after checking it.

    Args:
        name: of the entry, see `find`.
        which: one of `FILES`, such as `"model_int8.tflite"`.

    Returns:
        The file's path.

    Raises:
        UserError: there is no such entry or file, or it is not the one that
            was published.

    Example:
    >>> import kbp
    >>> kbp.zoo.file("pyramid_bpnet_tiny.digits").name
    'model_int8.tflite'
    """
    entry = find(name)
    if not (entry.path / SUMS).is_file():
        raise UserError(f"zoo entry {name} has no weights")
    sums, path = _read_sums(entry.path / SUMS), entry.path / which
    if which not in sums:
        raise UserError(f"{path}: no such file.")
    if not path.is_file():
        why = f" {ELSEWHERE}" if entry.is_elsewhere else ""
        raise UserError(f"{path}: missing.{why}")
    size, most = path.stat().st_size, entry.most_bytes
    if size > most:
        raise UserError(f"{path}: has {size} bytes, more than {most}.")
    if _digest(path.read_bytes()) != sums[which]:
        raise UserError(f"{path}: is not the file that was published.")
    return path


def verify(name: str) -> None:
    """Check an entry's files, and that its models still give their outputs.

    Args:
        name: of the entry.

    Raises:
        UserError: a file is not the one that was published, or a model gives
            other outputs for the golden inputs.

    Example:
    >>> import kbp
    >>> kbp.zoo.verify("pyramid_bpnet_tiny.digits")
    """
    from kbp.inference import golden

    golden.check(file(name, GOLDEN), load(name), file(name, INT8))


def take(entry: Entry, run: Path) -> list[Path]:
    """Copy the models of a run into an entry, and write their checksums.

    Raises:
        UserError: a file is missing or too large for the zoo.
    """
    return write_together(as_published(entry, contents_of(entry, run)))


def contents_of(entry: Entry, run: Path) -> dict[Path, bytes]:
    """Return a run's files for an entry, by their path there, see `take`.

    Those are `FILES`, and `labels.txt` where the run has classes. Not every
    run has a picture of its predictions.

    Raises:
        UserError: a file is missing or too large for the entry.
    """
    contents: dict[str, bytes] = {}
    for name in (*FILES, LABELS):
        path = run / name
        if not path.is_file():
            if name in (PREDICTIONS, LABELS):
                continue
            raise UserError(
                f"{path}: missing, and an entry has it. Run the recipe into a "
                "new folder, with eight bits."
            )
        contents[name] = path.read_bytes()
        if len(contents[name]) > entry.most_bytes:
            raise UserError(
                f"{path}: has {len(contents[name])} bytes, more than "
                f"{entry.most_bytes}."
            )
    return {entry.path / name: content for name, content in contents.items()}


def as_published(
    entry: Entry, contents: Mapping[Path, bytes]
) -> dict[Path, bytes]:
    """Return files of a run with the entry's name in them, and their sums.

    Args:
        entry: which will hold them.
        contents: of `contents_of`.
    """
    file = entry.path / INT8
    found = {**contents, file: _named(contents[file], entry.name)}
    sums = "".join(
        f"{_digest(content)}  {path.name}\n" for path, content in found.items()
    )
    return {**found, entry.path / SUMS: sums.encode()}


def _named(content: bytes, name: str) -> bytes:
    """Return a .tflite file whose description has another name."""
    from kbp.export.metadata.describing import describe
    from kbp.export.metadata.description import Metadata

    known = Metadata.of(content)
    if known is None:
        return content
    license = known.license or LICENSE
    return describe(
        content, dataclasses.replace(known, name=name, license=license)
    )


def _read_sums(path: Path) -> dict[str, str]:
    lines = path.read_text(errors="replace").splitlines()
    pairs = [line.split() for line in lines]
    if not all(len(pair) == 2 and len(pair[0]) == 64 for pair in pairs):
        raise UserError(f"{path}: holds no SHA-256 sums.")
    return {name: digest for digest, name in pairs}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
