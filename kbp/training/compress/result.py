"""What the one call for a person's own model made."""

import io
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from kbp._utils import run_files
from kbp.reports import report
from kbp.reports.stage import Stage
from kbp.training import checkpoint
from kbp.training.workdir import read_run


class Compressed:
    """What `compress` made; a notebook shows its table.

    Args:
        folder: of the results.

    Attributes:
        folder: of the results.
        paths: of the files there, by what they are: `"report"`,
            `"saved_model"`, `"float32"`, `"int8"` and the Keras models.
        stages: rows of the table: score, parameters, size and latency of the
            model at each stage.
        run: all that is known of the run, as in `run.json`.

    Example:
    >>> import io, tempfile, keras, numpy as np, kbp
    >>> from rich.console import Console
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> x = np.random.default_rng(0).normal(size=(320, 4)).astype("float32")
    >>> silent = Console(file=io.StringIO())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data = x, x.sum(axis=1)
    ...     made = kbp.compress(
    ...         model,
    ...         data,
    ...         quantization_epochs=0,
    ...         workdir=folder,
    ...         console=silent,
    ...     )
    ...     made.quantized_model.output_shape
    (None, 1)
    """

    def __init__(self, folder: Path):
        self.folder = folder
        names = {
            "model": run_files.MODEL,
            "quantized_model": run_files.QUANTIZED_MODEL,
            "float32": run_files.FLOAT32,
            "int8": run_files.INT8,
            "saved_model": "saved_model",
            "report": "report.html",
        }
        self.paths = {
            name: folder / file
            for name, file in names.items()
            if (folder / file).exists()
        }
        self.run: dict[str, Any] = read_run(folder) or {}
        self.stages = [Stage(**row) for row in self.run["stages"]]

    @cached_property
    def model(self) -> keras.Model:
        """The float model as it was pruned."""
        return checkpoint.load(self.paths["model"])

    @cached_property
    def quantized_model(self) -> keras.Model:
        """The model with fake quantization, to train on or export again."""
        return checkpoint.load(self.paths["quantized_model"])

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=100)
        console.print(report.result_table(self.stages, self.run))
        console.print()
        console.print(report.facts(self.run), markup=False)
        return console.file.getvalue()  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"Compressed({str(self.folder)!r})\n{self}"

    def _repr_html_(self) -> str:
        return report.as_html(self.stages, self.run)
