"""A .tflite file with what its numbers mean."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from kbp._utils.run_files import COLUMNS, LABELS, SERIES
from kbp.data.formats.frames import EMPTY
from kbp.data.images.kinds import ImageKinds
from kbp.data.images.resizing import RESIZE
from kbp.data.table import Column, TableColumns
from kbp.deploy.tensor import Tensor
from kbp.errors import UserError
from kbp.export import Metadata, Runner, TensorInfo
from kbp.inference import golden
from kbp.inference.texts import Texts
from kbp.sources import find_tflite, recipe_of
from kbp.tasks.forecasts.trained_on import TrainedOn
from kbp.tasks.predict_classes import image_shape
from kbp.tasks.predict_masks import images_of
from kbp.tasks.prediction import OpenModel, task_of

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Deployable:
    """A .tflite file, what it is for, and what lies beside it.

    Attributes:
        name: of the model.
        path: of the file.
        content: of the file.
        task: name of its task, such as `"classification"`.
        kind: what it does for a person's files, see `Prediction.kind`.
        input: its one input.
        output: its one output.
        texts: that say what the numbers mean, such as `"labels.txt"`.
        metadata: what the file says of itself.
        images: what images mean to the model, and how they get its size.
        node_modules: folder of npm's packages, `None` to look for one.
    """

    name: str
    path: Path
    content: bytes
    task: str
    kind: str
    input: Tensor
    output: Tensor
    texts: Texts
    metadata: Metadata
    images: ImageKinds
    node_modules: Path | None = None

    @classmethod
    def open(cls, name: str, node_modules: Path | None = None) -> "Deployable":
        """Open a zoo entry, a run's folder or a .tflite file.

        Args:
            name: of the entry, or a path.
            node_modules: see the class.

        Raises:
            UserError: there is no such model, or it is of no task that
                predicts files.
        """
        path = find_tflite(name)
        model = OpenModel.open(path)
        metadata, recipe = model.metadata, recipe_of(model, name)
        task = task_of(model, recipe)
        if not task.prediction.fits(model.inputs, model.outputs):
            raise UserError(f"{path}: {task.prediction.needs}.")
        runner = Runner(path)
        own = Path(name).absolute().name
        if path == Path(name):  # whose name may be that of every run's file
            own = metadata.name if metadata and metadata.task else path.stem
        made = cls(
            own,
            path,
            path.read_bytes(),
            task.name,
            task.prediction.kind,
            Tensor.of(runner.inputs[0]),
            Tensor.of(runner.outputs[0]),
            model.texts,
            metadata or Metadata(path.stem),
            images_of(model, recipe),
            node_modules,
        )
        _ = made.meaning  # which may be wrong
        return made

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, `()` of a model of numbers.

        Raises:
            UserError: there are more or fewer of them than of outputs.
        """
        count = self.output.shape[-1]
        if self.kind == "table":
            return self._columns.target.categories
        if self.kind == "series":
            return ()
        text = self.texts.find(LABELS)
        place = text.place if text else str(self.path)
        names = tuple(text.content.splitlines()) if text else ()
        names = names or self._said(self.metadata.outputs).labels
        if names and len(names) != count:
            raise UserError(
                f"{place}: names {len(names)} classes, but {self.path} has "
                f"{count}."
            )
        return names or _numbered(count)

    @property
    def meaning(self) -> dict[str, Any]:
        """What a program must know to use the file."""
        facts: dict[str, Any] = {
            "name": self.name,
            "task": self.task,
            "kind": self.kind,
            "input": dataclasses.asdict(self.input),
            "output": dataclasses.asdict(self.output),
            "labels": self.labels,
        }
        example = self.input.shape[1:]
        if self.kind in ("classes", "masks"):
            pixels = self._said(self.metadata.inputs)
            height, width, channels = image_shape(example)
            if len(pixels.mean) not in (0, 1, channels):
                raise UserError(
                    f"{self.path}: describes {len(pixels.mean)} channels, but "
                    f"takes {channels}."
                )
            facts |= {
                "image": (height, width, channels),
                "resize": self.images.resize or RESIZE,
                "white_level": self.images.white_level,
                "mean": pixels.mean or (0.0,),
                "std": pixels.std or (255.0,),
            }
        if self.kind == "table":
            facts |= json.loads(self._columns.to_json()) | {"empty": EMPTY}
        if self.kind == "series":
            known = self._parsed(SERIES, TrainedOn.from_json)
            named = self._said(self.metadata.outputs).labels
            if known:
                named = () if known.by_channel else known.targets
            facts["columns"] = named
        return facts

    def to_json(self) -> str:
        """Return `meaning` as text."""
        lines = (
            f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
            for key, value in self.meaning.items()
        )
        return "{\n" + ",\n".join(lines) + "\n}\n"

    def example(self) -> np.ndarray:
        """Return one example as floats, with the batch axis.

        It is the first golden one where those are, else noise in the range of
        the input.
        """
        return golden.inputs_for(self.path)[0][:1]

    @property
    def _columns(self) -> TableColumns:
        """What the columns of a table are; numbers if nothing says it."""
        taken, given = self.input.shape[-1], self.output.shape[-1]
        columns = self._parsed(COLUMNS, TableColumns.from_json)
        if columns is None:
            names = self._said(self.metadata.inputs).labels
            names = names or tuple(f"x{n + 1}" for n in range(taken))
            classes = self._said(self.metadata.outputs).labels
            classes = classes or (_numbered(given) if given > 1 else ())
            columns = TableColumns(
                tuple(map(Column, names)), Column("predicted", classes)
            )
        counts = len(columns.features), max(1, len(columns.target.categories))
        if counts != (taken, given):
            raise UserError(
                f"{self.path}: takes {taken} columns and gives {given} values; "
                f"{COLUMNS} is of a model with {counts[0]} and {counts[1]}."
            )
        return columns

    def _said(self, tensors: tuple[TensorInfo, ...]) -> TensorInfo:
        """Return what the file says of its one input or output, if it does."""
        return tensors[0] if tensors else TensorInfo("")

    def _parsed(
        self, name: str, parse: Callable[[str], Parsed]
    ) -> Parsed | None:
        """Return what a text with the file says, `None` if there is none."""
        text = self.texts.find(name)
        return None if text is None else text.parsed(parse)


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))
