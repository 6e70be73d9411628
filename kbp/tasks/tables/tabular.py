"""What all tasks of tables have in common."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np

from kbp import graph
from kbp._utils.run_files import COLUMNS
from kbp.data.lazy import Array, chunks
from kbp.data.splits import Examples
from kbp.data.table import TableColumns, TableSplits
from kbp.errors import UserError
from kbp.export import Metadata, TensorInfo
from kbp.export.metadata.common import logits
from kbp.layers import TableEncoding
from kbp.reports.result_table import ResultTable
from kbp.tasks.tables import baselines
from kbp.tasks.tables.knots import points
from kbp.tasks.tables.predict_table import TablePrediction
from kbp.tasks.task import Task

_LISTED = 50  # columns of a kind


class Tabular(Task):
    """Base of tasks whose examples are the rows of a table.

    The models that it builds begin with a `kbp.layers.TableEncoding`, so they,
    and the files that are made of them, take raw numbers.
    """

    splits_kind = TableSplits
    takes = "rows of numbers in any units, categories by their numbers"
    prediction = TablePrediction
    compared_with = "a simple, a linear and a tree method"
    splits: TableSplits

    def encoded(self, num_outputs: int) -> keras.Model:
        """Build the recipe's model behind the encoding of the table.

        Args:
            num_outputs: what the model gives for a row.

        Raises:
            UserError: the architecture takes no vectors.
        """
        columns = self.splits.columns
        inputs = keras.Input(self.shape, name="row")
        lines = [
            points(_column(self.splits.train.inputs, place))
            for place in np.flatnonzero(~columns.categorical)
        ]
        knots, heights = ([line[i].tolist() for line in lines] for i in (0, 1))
        encoding = TableEncoding(
            [len(column.categories) for column in columns.features],
            num_knots=max(map(len, knots), default=2),
            name="table_encoding",
        )
        x = encoding(inputs)
        encoding.set_knots(knots, heights=heights)
        try:
            body = self.recipe.model.build((x.shape[-1],), num_outputs)
        except UserError as error:
            raise UserError(
                f"{error}. A row of the table is a vector of {x.shape[-1]} "
                'features, which architecture = "residual_mlp" takes.'
            ) from error
        # `call` leaves the body's layers as layers of the whole model.
        outputs = graph.as_functional(body).call(x)
        return keras.Model(inputs, outputs, name=body.name)

    def check_beside(self, name: str, text: str) -> None:
        # Means and deviations are in the model; more rows may have others.
        known = TableColumns.from_json(text).words()
        if known != self.splits.columns.words():
            super().check_beside(name, "")

    def files(self) -> dict[str, str]:
        return {COLUMNS: self.splits.columns.to_json()}

    def metadata(self) -> Metadata:
        row = TensorInfo(
            "row",
            description="The columns in this order: numbers in their own "
            "units, categories by their numbers (0: unknown).",
            axes=("columns",),
            labels=tuple(x.name for x in self.splits.columns.features),
        )
        return dataclasses.replace(
            super().metadata(), inputs=(row,), outputs=(self.answer(),)
        )

    def answer(self) -> TensorInfo:
        """Return what there is to say of the model's output."""
        return logits(self.splits.class_names)

    def describe(self) -> str:
        columns, filled = self.splits.columns, self.splits.filled
        note = f", {filled} missing numbers filled in" if filled else ""
        numbers = [column.name for column in columns.numbers]
        categories = [
            f"{column.name} ({len(column.categories)})"
            for column in columns.features
            if not column.is_number
        ]
        count, *kept = super().describe().splitlines()
        said = (
            f"{count} of {len(columns.features)} columns{note}\n"
            f"Numbers: {_listed(numbers)}. Categories, and how many: "
            f"{_listed(categories)}. Left out: "
            f"{_listed(self.splits.left_out)}."
        )
        return "\n".join([said, *kept])

    def warnings(self) -> list[str]:
        return [*self.splits.warnings, *super().warnings()]

    @cached_property
    def baselines(self) -> baselines.Baselines:
        """The simplest, a linear and a tree method, asked about the test rows.

        They are fitted once, on the rows that networks are trained on.
        """
        return baselines.fit(self.splits)

    def rows(self, split: str) -> Examples:
        """Return the rows of a split."""
        examples: Examples = getattr(self.splits, split)
        return examples

    def compared(
        self,
        headings: tuple[str, ...],
        rows: list[tuple[str, ...]],
        remark: str,
    ) -> dict[str, ResultTable]:
        """Return the table of the baselines, by its heading."""
        count = len(self.splits.test)
        took = self.baselines.said(len(self.splits.train))
        return {
            f"Baselines on the same {count} test rows": ResultTable(
                ("method", *headings), tuple(rows), f"{remark} {took}"
            )
        }


def _column(rows: Array, place: Any) -> np.ndarray:
    """Return one column of rows that may not be in memory."""
    return np.concatenate([part[:, place] for part in chunks(rows)])


def _listed(names: Sequence[str]) -> str:
    """Return names in their order, the first ones of many."""
    more = f", ... ({len(names)} in all)" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more or "none"
