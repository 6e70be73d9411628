"""The description of a .tflite file."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from kbp._utils.arguments import check_one_of
from kbp._utils.manifest import digest
from kbp.export.interpreter import read_tflite
from kbp.export.metadata.archive import read_archive

OWN = "kbp.json"  # the member of the zip that holds everything
_KIND = Literal["features", "image"]
_PEOPLE = ("license", "author", "version")


@dataclass(frozen=True)
class TensorInfo:
    """An input or an output of a file.

    Attributes:
        name: in the file's signature, which is the Keras model's.
        kind: `"image"`, of axes (height, width, channels), or `"features"`.
        description: what the values mean, in a sentence.
        axes: names of the axes behind the batch.
        unit: of the values, such as `"logit"`; `""` if there is none.
        mean: of each channel or of all: what is taken from a pixel in [0, 255]
            before it is divided by `std`, which gives what the model takes;
            empty if nothing is to be done.
        std: see `mean`.
        lowest: the least value that makes sense, of each channel or of all.
        highest: the greatest one.
        labels: names of the places along the last axis.

    Example:
    >>> import kbp
    >>> kbp.export.TensorInfo("image", "image", mean=(0.0,), std=(255.0,)).kind
    'image'
    """

    name: str
    kind: _KIND = "features"
    description: str = ""
    axes: tuple[str, ...] = ()
    unit: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    lowest: tuple[float, ...] = ()
    highest: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no tensor is like; a file may say anything."""
        check_one_of(get_args(_KIND), kind=self.kind)
        for key in ("name", "description", "unit"):
            _check(self, key, str, "text")
        for key in ("axes", "labels"):
            _check_all(self, key, str, "texts")
        for key in ("mean", "std", "lowest", "highest"):
            _check_all(self, key, int | float, "numbers")
        if any(len(label.splitlines()) > 1 for label in self.labels):
            raise ValueError(
                f"Tensor {self.name} must have labels of one line each. "
                f"Received: labels={self.labels}"
            )
        if len(self.mean) != len(self.std) or 0 in self.std:
            raise ValueError(
                f"Tensor {self.name} must have a `std` that is not 0 for each "
                f"`mean`. Received: mean={self.mean}, std={self.std}"
            )


@dataclass(frozen=True)
class Metadata:
    r"""What a .tflite file says of itself.

    It is written in the standard schema of TensorFlow Lite's metadata, which
    Netron, Android Studio and TFLite Support read, with the texts of `files` as
    associated files: a `.tflite` file is a zip archive, too.

    Attributes:
        name: of the model.
        inputs: by the file's names, else in its order; empty: names and
            shapes are the model's, and nothing else is known.
        outputs: likewise.
        description: what the model does, in a sentence or two.
        task: name of the kbp task that the model was trained for, such as
            `"classification"`; `""` if it is none.
        license: of the model.
        author: of the model.
        version: of the model.
        origin: what the file was made of: `"recipe"`, `"versions"` of
            packages, `"models"` with the SHA-256 of Keras files by their
            names. Anything that JSON holds.
        files: texts that users of the file need, by their names, such as
            `"labels.txt"`, `"columns.json"`.

    Example:
    >>> import kbp
    >>> scores = kbp.export.TensorInfo("scores", labels=("cat", "dog"))
    >>> metadata = kbp.export.Metadata("pets", outputs=(scores,))
    >>> metadata.files_to_pack()["labels.txt"]
    'cat\ndog\n'
    """

    name: str
    inputs: tuple[TensorInfo, ...] = ()
    outputs: tuple[TensorInfo, ...] = ()
    description: str = ""
    task: str = ""
    license: str = ""
    author: str = ""
    version: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what `read` could not give back; a file may say anything."""
        for key in ("name", "description", "task", *_PEOPLE):
            _check(self, key, str, "text")
        for key in ("inputs", "outputs"):
            _check_all(self, key, TensorInfo, "kbp.export.TensorInfo")
        _check(self, "origin", Mapping, "a dictionary")
        _check(self, "files", Mapping, "a dictionary of texts")
        if not all(
            isinstance(text, str)
            for pair in self.files.items()
            for text in pair
        ):
            raise ValueError(
                "Attribute `files` must hold texts by their names."
            )
        taken = {OWN, *self.labels_files()} & {*self.files}
        for name in taken:
            if name == OWN or self.files[name] != self.labels_files()[name]:
                raise ValueError(
                    f"Attribute `files` must not hold {name!r}, which is "
                    "written from the other attributes."
                )

    @classmethod
    def read(cls, path: str | Path) -> "Metadata | None":
        """Return what a .tflite file says of itself, if kbp described it.

        Args:
            path: of the file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no .tflite file, or its description is damaged.
        """
        return cls.of(read_tflite(path), str(path))

    @classmethod
    def of(cls, content: bytes, name: str = "The file") -> "Metadata | None":
        """Return what the content of a .tflite file says, see `read`."""
        try:
            members = read_archive(content)
            if OWN not in members:
                return None  # described by nobody, or by another tool
            return cls._parse({k: v.decode() for k, v in members.items()})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{name}: its description is damaged: {error}"
            ) from error

    @classmethod
    def _parse(cls, texts: dict[str, str]) -> "Metadata":
        whole = json.loads(texts.pop(OWN))
        for key in ("inputs", "outputs"):
            whole[key] = tuple(
                TensorInfo(**{k: _frozen(v) for k, v in one.items()})
                for one in whole[key]
            )
        files = {name: texts[name] for name in whole.pop("files")}
        return cls(**whole, files=files)

    def made_of(self, *models: Path, **facts: Any) -> "Metadata":
        """Return this with the SHA-256 of Keras files as its origin.

        Args:
            *models: that the file is made of, one of the other.
            **facts: more of its origin, such as `versions`.
        """
        sums = {path.name: digest(path) for path in models}
        origin = {**self.origin, **facts, "models": sums}
        return dataclasses.replace(self, origin=origin)

    def files_to_pack(self) -> dict[str, str]:
        """Return the texts that go into the file's archive, by their names."""
        whole = dataclasses.asdict(self) | {"files": sorted(self.files)}
        return {
            **self.labels_files(),
            **self.files,
            OWN: json.dumps(whole, indent=1, ensure_ascii=False) + "\n",
        }

    def labels_files(self) -> dict[str, str]:
        """Return the texts with the labels of each output, by their names."""
        return {
            labels_file(self.outputs, output): "".join(
                f"{label}\n" for label in output.labels
            )
            for output in self.outputs
            if output.labels
        }


def labels_file(outputs: tuple[TensorInfo, ...], output: TensorInfo) -> str:
    """Return the name of the text with an output's labels."""
    several = sum(bool(x.labels) for x in outputs) > 1
    return f"labels_{output.name}.txt" if several else "labels.txt"


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _check(owner: object, key: str, kind: type, what: str) -> None:
    value = getattr(owner, key)
    if not isinstance(value, kind):
        raise ValueError(
            f"Attribute `{key}` of {type(owner).__name__} must be {what}. "
            f"Received: {key}={value!r}"
        )


def _check_all(owner: object, key: str, kind: Any, what: str) -> None:
    value = getattr(owner, key)
    if not isinstance(value, list | tuple) or not all(
        isinstance(x, kind) for x in value
    ):
        raise ValueError(
            f"Attribute `{key}` of {type(owner).__name__} must be a tuple of "
            f"{what}. Received: {key}={value!r}"
        )
